// The certified implementation `oidc-provider` as an issuer on loopback, with a client for each signature algorithm.
// usage: PORT=n TLS_CERT=file TLS_KEY=file node issuer.mjs
//
// POST /control/rotate: new keys sign from now on, the old ones stay published.
// POST /control/withdraw: only the newest keys stay.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const { PORT, TLS_CERT, TLS_KEY } = process.env;
const issuer = `https://127.0.0.1:${PORT}`;

const algorithms = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
];
const groups = { alice: ['dev', 'ops'], bob: ['guests'] };

// One RSA key for six algorithms: it says no `alg`.
function newKeys(generation) {
  const kinds = [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ec', { namedCurve: 'P-384' }],
    ['ec', { namedCurve: 'P-521' }],
    ['ed25519', {}],
  ];
  return kinds.map(([kind, options]) => {
    const jwk = generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' });
    return { ...jwk, kid: `${jwk.crv ?? 'RSA'}-${generation}`, use: 'sig' };
  });
}

// Tokens for a name and its password, which is the name: tests have no browser.
async function password(ctx) {
  const { client, params, provider } = ctx.oidc;
  if (!(params.username in groups) || params.password !== params.username) {
    ctx.status = 400;
    ctx.body = { error: 'invalid_grant' };
    return;
  }
  const token = new provider.IdToken({ sub: params.username, groups: groups[params.username] }, { ctx, client });
  token.scope = 'openid';
  ctx.body = { token_type: 'Bearer', id_token: await token.issue({ use: 'idtoken' }) };
}

function newProvider(keys) {
  const provider = new Provider(issuer, {
    claims: { openid: ['sub', 'groups'] },
    clients: algorithms.map((algorithm) => ({
      client_id: `kubernetes-${algorithm}`,
      id_token_signed_response_alg: algorithm,
      token_endpoint_auth_method: 'none',
      grant_types: ['password'],
      response_types: [],
      redirect_uris: [],
    })),
    cookies: { keys: ['cookies play no part'] },
    enabledJWA: { idTokenSigningAlgValues: algorithms },
    features: { devInteractions: { enabled: false } },
    jwks: { keys },
    ttl: { IdToken: 600 },
  });
  provider.registerGrantType('password', password, ['username', 'password', 'scope']);
  return provider.callback();
}

let generation = 1;
let keys = [newKeys(generation)];
let handle = newProvider(keys.flat());

function control(action) {
  if (action === 'rotate') keys.unshift(newKeys((generation += 1)));
  else if (action === 'withdraw') keys = keys.slice(0, 1);
  else return 404;
  handle = newProvider(keys.flat());
  return 204;
}

const tls = { cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) };
createServer(tls, (request, response) => {
  if (request.method === 'POST' && request.url.startsWith('/control/')) {
    response.writeHead(control(request.url.slice('/control/'.length))).end();
  } else {
    handle(request, response);
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log('listening'));
