// Package lines lets one client of a registry be driven and observed by lines: commands on standard input, what it sees
// on standard output. tests/bench/line_cluster.py is the other end; tests/bench/line_node.py is the same for gossipreg.
package lines

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// InFlight is how many registrations of a burst are under way at once.
const InFlight = 16

// Client is what the benchmark asks of each registry.
type Client interface {
	// Offer registers an instance, and returns when the registry has confirmed it.
	Offer(key string) error
	// Has returns whether the registry, or what this client holds of it, has the instance.
	Has(key string) bool
	// View returns how many clients or members there are, and a mark that is equal for equal views.
	View() (int, string)
	// Read asks once for all instances, as a program would before a call.
	Read() error
}

var out sync.Mutex

// Say writes one line.
func Say(format string, values ...any) {
	out.Lock()
	defer out.Unlock()
	fmt.Fprintf(os.Stdout, format+"\n", values...)
}

// Fail ends the program if there is an error.
func Fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Seen is what a client was last shown. It says what has changed.
type Seen struct {
	mutex sync.Mutex
	keys  map[string]bool
}

// Set takes whether an instance is there.
func (seen *Seen) Set(key string, there bool) {
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	if seen.keys == nil {
		seen.keys = map[string]bool{}
	}
	if seen.keys[key] == there {
		return
	}
	if there {
		seen.keys[key] = true
		Say("offered %s", key)
	} else {
		delete(seen.keys, key)
		Say("gone %s", key)
	}
}

// Replace takes the whole list of instances.
func (seen *Seen) Replace(keys []string) {
	there := make(map[string]bool, len(keys))
	for _, key := range keys {
		there[key] = true
	}
	seen.mutex.Lock()
	var gone []string
	for key := range seen.keys {
		if !there[key] {
			gone = append(gone, key)
		}
	}
	seen.mutex.Unlock()
	for _, key := range keys {
		seen.Set(key, true)
	}
	for _, key := range gone {
		seen.Set(key, false)
	}
}

// Has returns whether an instance is there.
func (seen *Seen) Has(key string) bool {
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	return seen.keys[key]
}

// Serve says that the client is ready, with its port if it has one, and obeys until standard input ends.
func Serve(client Client, port int) {
	Say("ready %d", port)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		words := strings.Fields(input.Text())
		switch words[0] {
		case "offer":
			Fail(client.Offer(words[1]))
		case "burst":
			count, err := strconv.Atoi(words[2])
			Fail(err)
			burst(client, words[1], count)
			Say("answer %d", count)
		case "has":
			Say("answer %t", client.Has(words[1]))
		case "view":
			alive, mark := client.View()
			Say("answer %d %s", alive, mark)
		case "read":
			seconds, err := strconv.ParseFloat(words[1], 64)
			Fail(err)
			Say("answer %d", reads(client, seconds))
		}
	}
}

func burst(client Client, prefix string, count int) {
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range InFlight {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range numbers {
				Fail(client.Offer(fmt.Sprintf("%s-%d", prefix, number)))
			}
		}()
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
}

func reads(client Client, seconds float64) int {
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	count := 0
	for time.Now().Before(end) {
		Fail(client.Read())
		count++
	}
	return count
}
