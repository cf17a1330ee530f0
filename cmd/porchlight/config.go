package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/porchlight-dev/porchlight/internal/config"
)

// configCommand has what is done with configurations.
type configCommand struct {
	Check configCheckCommand `cmd:"" help:"Say what is wrong with a configuration, or what a node would run with."`
}

// configCheckCommand checks a configuration as serve would, and changes nothing.
type configCheckCommand struct {
	File   string `arg:"" optional:"" name:"FILE" help:"Configuration file (YAML)."`
	Config string `placeholder:"FILE" help:"The same, as for serve."`
	JSON   bool   `name:"json" help:"Answer in JSON."`
}

// Help shows an example.
func (configCheckCommand) Help() string {
	return "The variables of the environment count, as for serve. Secrets are never shown. The exit code is 1 when something is wrong.\n\n" +
		"Example:\n\n  porchlight config check porchlight.yaml && pkill -HUP -f '^[^ ]*porchlight serve'"
}

func (k configCheckCommand) path() string {
	if k.File != "" {
		return k.File
	}
	return k.Config
}

// Run prints what it finds.
func (k configCheckCommand) Run(c console) error {
	switch {
	case k.path() == "":
		return errors.New("which configuration? Name its file: porchlight config check FILE")
	case k.File != "" && k.Config != "" && k.Config != k.File:
		return errors.New("two files are named; check one at a time")
	}
	found, err := config.Inspect(k.path(), os.Environ()...)
	if k.JSON {
		return k.answer(c, found, err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is good.\n\n%s", k.path(), found.Summary())
	for _, w := range found.Warnings() {
		fmt.Fprintln(c.err, "porchlight: warning:", w)
	}
	return nil
}

// answer is the outcome in JSON, on standard output for good and bad.
func (k configCheckCommand) answer(c console, found *config.Config, err error) error {
	body := struct {
		OK       bool             `json:"ok"`
		Problems []config.Problem `json:"problems"`
		Summary  *config.Summary  `json:"summary,omitempty"`
	}{OK: err == nil, Problems: config.Problems(err)}
	if err == nil {
		s := found.Summary()
		body.Summary = &s
	}
	out := json.NewEncoder(c.out)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if e := out.Encode(body); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%s is refused", k.path())
	}
	return nil
}
