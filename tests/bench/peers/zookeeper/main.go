// A client of ZooKeeper: zookeeper SERVER,SERVER TIMEOUT. It registers ephemeral nodes in a session that times out after so
// many seconds, and watches the children of their parent.
package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"bench/lines"

	"github.com/go-zookeeper/zk"
)

const parent = "/bench"

type client struct {
	lines.Seen
	connection *zk.Conn
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (c *client) Offer(key string) error {
	_, err := c.connection.Create(parent+"/"+key, []byte("10.0.0.1:8080"), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	return err
}

func (c *client) Has(key string) bool {
	there, _, err := c.connection.Exists(parent + "/" + key)
	lines.Fail(err)
	return there
}

func (c *client) View() (int, string) { return 0, "" }

func (c *client) Read() error {
	_, _, err := c.connection.Children(parent)
	return err
}

func (c *client) follow(keys []string, changed <-chan zk.Event) {
	for {
		c.Replace(keys)
		<-changed
		var err error
		keys, _, changed, err = c.connection.ChildrenW(parent)
		lines.Fail(err)
	}
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[2], 64)
	lines.Fail(err)
	timeout := time.Duration(seconds * float64(time.Second))
	connection, _, err := zk.Connect(strings.Split(os.Args[1], ","), timeout, zk.WithLogger(silent{}))
	lines.Fail(err)
	c := &client{connection: connection}
	_, err = connection.Create(parent, nil, 0, zk.WorldACL(zk.PermAll))
	if !errors.Is(err, zk.ErrNodeExists) {
		lines.Fail(err)
	}
	keys, _, changed, err := connection.ChildrenW(parent)
	lines.Fail(err)
	go c.follow(keys, changed)
	lines.Serve(c, 0)
}
