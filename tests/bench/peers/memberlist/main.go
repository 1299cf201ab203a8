// A member of a memberlist cluster: memberlist NAME KEY [SEED]. KEY is in hexadecimal; "" is none. What it offers is its
// metadata.
package main

import (
	"encoding/hex"
	"errors"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"bench/lines"

	"github.com/hashicorp/memberlist"
)

type member struct {
	list  *memberlist.Memberlist
	mutex sync.Mutex
	meta  []byte
	last  map[string]string // what each other member has offered
}

func (m *member) NodeMeta(limit int) []byte {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.meta
}
func (m *member) NotifyMsg([]byte)                           {}
func (m *member) GetBroadcasts(overhead, limit int) [][]byte { return nil }
func (m *member) LocalState(join bool) []byte                { return nil }
func (m *member) MergeRemoteState(buf []byte, join bool)     {}

func (m *member) NotifyJoin(node *memberlist.Node) { m.NotifyUpdate(node) }
func (m *member) NotifyUpdate(node *memberlist.Node) {
	if len(node.Meta) == 0 {
		return
	}
	m.mutex.Lock()
	m.last[node.Name] = string(node.Meta)
	m.mutex.Unlock()
	lines.Say("offered %s", node.Meta)
}
func (m *member) NotifyLeave(node *memberlist.Node) {
	m.mutex.Lock()
	offered := m.last[node.Name]
	delete(m.last, node.Name)
	m.mutex.Unlock()
	if offered != "" {
		lines.Say("gone %s", offered)
	}
	lines.Say("failed %s", node.Name)
}

func (m *member) Offer(key string) error {
	m.mutex.Lock()
	m.meta = []byte(key)
	m.mutex.Unlock()
	go func() { lines.Fail(m.list.UpdateNode(time.Minute)) }()
	return nil
}

func (m *member) Has(key string) bool {
	for _, node := range m.list.Members() {
		if string(node.Meta) == key {
			return true
		}
	}
	return false
}

func (m *member) View() (int, string) {
	var names []string
	for _, node := range m.list.Members() {
		names = append(names, node.Name)
	}
	sort.Strings(names)
	return len(names), strings.Join(names, ",")
}

func (m *member) Read() error {
	if len(m.list.Members()) == 0 {
		return errors.New("no members")
	}
	return nil
}

func main() {
	m := &member{last: map[string]string{}}
	config := memberlist.DefaultLANConfig()
	config.Name = os.Args[1]
	config.BindAddr, config.BindPort, config.AdvertisePort = "127.0.0.1", 0, 0
	config.Delegate, config.Events = m, m
	key, err := hex.DecodeString(os.Args[2])
	lines.Fail(err)
	config.SecretKey = key
	m.list, err = memberlist.Create(config)
	lines.Fail(err)
	if len(os.Args) > 3 {
		_, err = m.list.Join(os.Args[3:])
		lines.Fail(err)
	}
	lines.Serve(m, int(m.list.LocalNode().Port))
}
