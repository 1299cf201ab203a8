// A client of Eureka: eureka URL RENEW EXPIRE FETCH, in seconds. It registers, renews and fetches as Netflix's client does: the
// whole registry first, then the changes.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"bench/lines"
)

const service = "BENCH"

type client struct {
	lines.Seen
	url           string
	renew, expire float64
}

type instance struct {
	ID     string `json:"instanceId"`
	Action string `json:"actionType"`
	Status string `json:"status"`
}

type registry struct {
	Applications struct {
		Application []struct {
			Instance []instance `json:"instance"`
		} `json:"application"`
	} `json:"applications"`
}

func (c *client) ask(method, path string, body any, answer any) error {
	var said []byte
	if body != nil {
		var err error
		if said, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequest(method, c.url+path, bytes.NewReader(said))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	if answer != nil {
		return json.NewDecoder(response.Body).Decode(answer)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func (c *client) Offer(key string) error {
	path := "/apps/" + service
	body := map[string]any{"instance": map[string]any{
		"instanceId": key, "hostName": "10.0.0.1", "app": service, "ipAddr": "10.0.0.1", "vipAddress": service,
		"status": "UP", "port": map[string]any{"$": 8080, "@enabled": "true"},
		"dataCenterInfo": map[string]any{
			"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn",
		},
		"leaseInfo": map[string]any{
			"renewalIntervalInSecs": int(c.renew), "durationInSecs": int(c.expire),
		},
	}}
	if err := c.ask("POST", path, body, nil); err != nil {
		return err
	}
	go func() {
		for range time.Tick(time.Duration(c.renew * float64(time.Second))) {
			if err := c.ask("PUT", path+"/"+key, nil, nil); err != nil {
				lines.Fail(c.ask("POST", path, body, nil))
			}
		}
	}()
	return nil
}

func (c *client) View() (int, string) { return 0, "" }

func (c *client) Read() error { return c.ask("GET", "/apps/"+service, nil, nil) }

func (c *client) fetch(path string) error {
	var found registry
	if err := c.ask("GET", path, nil, &found); err != nil {
		return err
	}
	for _, application := range found.Applications.Application {
		for _, each := range application.Instance {
			c.Set(each.ID, each.Action != "DELETED" && each.Status == "UP")
		}
	}
	return nil
}

func main() {
	seconds := func(text string) float64 {
		value, err := strconv.ParseFloat(text, 64)
		lines.Fail(err)
		return value
	}
	c := &client{url: os.Args[1], renew: seconds(os.Args[2]), expire: seconds(os.Args[3])}
	lines.Fail(c.fetch("/apps"))
	go func() {
		for range time.Tick(time.Duration(seconds(os.Args[4]) * float64(time.Second))) {
			lines.Fail(c.fetch("/apps/delta"))
		}
	}()
	lines.Serve(c, 0)
}
