// A client of etcd: etcd ENDPOINT,ENDPOINT TTL. It registers keys under one lease of so many seconds, and watches them.
package main

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"bench/lines"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const prefix = "bench/"

type client struct {
	lines.Seen
	etcd  *clientv3.Client
	lease clientv3.LeaseID
}

func (c *client) Offer(key string) error {
	_, err := c.etcd.Put(context.Background(), prefix+key, "10.0.0.1:8080", clientv3.WithLease(c.lease))
	return err
}

func (c *client) Has(key string) bool {
	found, err := c.etcd.Get(context.Background(), prefix+key)
	lines.Fail(err)
	return found.Count == 1
}

func (c *client) View() (int, string) { return 0, "" }

func (c *client) Read() error {
	_, err := c.etcd.Get(context.Background(), prefix, clientv3.WithPrefix(), clientv3.WithSerializable())
	return err
}

func (c *client) follow(updates clientv3.WatchChan) {
	for update := range updates {
		lines.Fail(update.Err())
		for _, event := range update.Events {
			c.Set(strings.TrimPrefix(string(event.Kv.Key), prefix), event.Type == clientv3.EventTypePut)
		}
	}
}

func main() {
	background := context.Background()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(os.Args[1], ","), DialTimeout: time.Minute})
	lines.Fail(err)
	seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
	lines.Fail(err)
	granted, err := etcd.Grant(background, seconds)
	lines.Fail(err)
	kept, err := etcd.KeepAlive(background, granted.ID)
	lines.Fail(err)
	go func() {
		for range kept {
		}
	}()
	c := &client{etcd: etcd, lease: granted.ID}
	found, err := etcd.Get(background, prefix, clientv3.WithPrefix())
	lines.Fail(err)
	for _, pair := range found.Kvs {
		c.Set(strings.TrimPrefix(string(pair.Key), prefix), true)
	}
	watched := clientv3.WithRequireLeader(background)
	go c.follow(etcd.Watch(watched, prefix, clientv3.WithPrefix(), clientv3.WithRev(found.Header.Revision+1)))
	lines.Serve(c, 0)
}
