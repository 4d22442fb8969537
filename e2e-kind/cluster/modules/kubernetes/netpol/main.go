// Command netpol enforces NetworkPolicy on a node: kube-router's policy controller and nothing else of it.
//
// The whole kube-router also carries a BGP daemon, an IPVS proxy and a cloud SDK. They take longer to compile than the
// rest of the node, and nothing here runs them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/svcip"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	klog.InitFlags(nil)
	flag.StringVar(&config.Kubeconfig, "kubeconfig", "", "kubeconfig of the API server")
	flag.StringVar(&config.HostnameOverride, "node", "", "name of the Node object")
	serviceRange := flag.String("service-cluster-ip-range", "10.96.0.0/16", "range of the Services")
	healthPort := flag.Uint("health-port", 20244, "port of /healthz on 127.0.0.1")
	flag.Parse()
	config.ClusterIPCIDRs = []string{*serviceRange}
	config.HealthAddr = "127.0.0.1"
	config.HealthPort = uint16(*healthPort)

	if err := run(config); err != nil {
		fmt.Fprintln(os.Stderr, "netpol:", err)
		os.Exit(1)
	}
}

func run(config *options.KubeRouterConfig) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()

	restConfig, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return err
	}

	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	ranges, err := svcip.NewValidator(svcip.Config{ClusterIPCIDRs: config.ClusterIPCIDRs, EnableIPv4: true})
	if err != nil {
		return err
	}
	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	var ipsetMutex sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(
		client, config, pods, policies, namespaces, &ipsetMutex, nil, iptables, ipsets, ranges)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods:       controller.PodEventHandler,
		namespaces: controller.NamespaceEventHandler,
		policies:   controller.NetworkPolicyEventHandler,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}

	health, err := healthcheck.NewHealthController(config)
	if err != nil {
		return err
	}
	heartbeats := make(chan *healthcheck.ControllerHeartbeat, 10)
	var group sync.WaitGroup
	group.Add(3)
	health.SetAlive()
	go health.RunServer(ctx.Done(), &group)
	go health.RunCheck(heartbeats, ctx.Done(), &group)
	go controller.Run(heartbeats, ctx.Done(), &group)
	group.Wait()
	return nil
}
