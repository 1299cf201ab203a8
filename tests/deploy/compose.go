// Loads a compose file as Docker Compose does, against its schema: `program FILE`. It prints the services with their
// variables and ports; what the schema refuses, or what a service refers to and is not there, is an error.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:2])
	if err == nil {
		project, wrong := options.LoadProject(context.Background())
		if err = wrong; err == nil {
			err = json.NewEncoder(os.Stdout).Encode(project)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
