module bench

go 1.25.0

require (
	github.com/go-zookeeper/zk v1.0.4
	github.com/hashicorp/memberlist v0.7.0
	go.etcd.io/etcd/client/v3 v3.5.21
)
