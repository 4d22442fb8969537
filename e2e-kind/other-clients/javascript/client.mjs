// The official JavaScript client: list, watch, and exec over WebSocket. usage: client.mjs NAMESPACE NAME
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { CoreV1Api, Exec, KubeConfig, Watch } from '@kubernetes/client-node';

const [namespace, name] = process.argv.slice(2);
const config = new KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(CoreV1Api);

const pods = await core.listNamespacedPod({ namespace });
assert(pods.items.some((pod) => pod.metadata.name === 'target'));
console.log('list: the pod is there');

const create = () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name }, data: { a: '1' } } });
const { resourceVersion } = (await core.listNamespacedConfigMap({ namespace })).metadata;
const seen = [];
await new Promise((resolve, reject) => {
  const query = { resourceVersion, fieldSelector: `metadata.name=${name}`, timeoutSeconds: 60 };
  const onEvent = (type) => {
    seen.push(type);
    if (type === 'ADDED') core.deleteNamespacedConfigMap({ namespace, name }).catch(reject);
    if (type === 'DELETED') resolve();
  };
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  new Watch(config).watch(path, query, onEvent, (error) => reject(error ?? new Error('the watch ended')))
    .catch(reject);
  // The event has to come while the watch is under way, and at once.
  setTimeout(() => create().catch(reject), 2000);
});
assert.deepEqual(seen, ['ADDED', 'DELETED']);
console.log(`watch: ${seen.join(' ')}`);

const [input, output, errors] = [new PassThrough(), new PassThrough(), new PassThrough()];
const command = ['sh', '-c', `read line; echo ${name} $line; echo no >&2; exit 7`];
const status = await new Promise((resolve, reject) => {
  new Exec(config).exec(namespace, 'target', 'main', command, output, errors, input, false, resolve).catch(reject);
  input.write('hello\n');
});
output.end();
errors.end();
assert.equal((await text(output)).trim(), `${name} hello`);
assert.equal((await text(errors)).trim(), 'no');
assert.equal(status.details.causes.find((cause) => cause.reason === 'ExitCode').message, '7');
console.log('exec: input, output and exit code');
process.exit(0);
