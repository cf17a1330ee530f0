package porchlighttest

import (
	"log/slog"
	"strings"

	"github.com/porchlight-dev/porchlight"
	"github.com/porchlight-dev/porchlight/internal/natsbus"
)

// Option changes how Start runs the server.
type Option func(*settings)

type settings struct {
	options  porchlight.Options
	app      string
	inMemory bool
}

// Set gives a key of the configuration a value, in the words of the configuration
// file: Set("apps.demo.policy.grace", "100ms"). Lists of texts have commas.
func Set(key, value string) Option {
	name := "PORCHLIGHT_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
	return func(s *settings) { s.options.Environ = append(s.options.Environ, name+"="+value) }
}

// Config runs the server with the text of a configuration (YAML) in place of the
// development one. The data directory and the addresses in it do not count.
func Config(yaml string) Option {
	return func(s *settings) { s.options.Config = []byte(yaml) }
}

// ConfigFile does the same with a file.
func ConfigFile(path string) Option {
	return func(s *settings) { s.options.ConfigFile = path }
}

// App is the app that Token, Client and ServerKey are of: "demo" unless said
// otherwise.
func App(name string) Option {
	return func(s *settings) { s.app = name }
}

// Logger takes the server's log in place of the test's output.
func Logger(l *slog.Logger) Option {
	return func(s *settings) { s.options.Logger = l }
}

// InMemory keeps the server off the machine's network (see the package comment on
// synctest).
func InMemory() Option {
	return func(s *settings) { s.inMemory = true }
}

// Synctest prepares a test program for servers inside testing/synctest. TestMain
// calls it before any test runs:
//
//	func TestMain(m *testing.M) {
//		porchlighttest.Synctest()
//		os.Exit(m.Run())
//	}
//
// It starts one goroutine, for good: the engine's own clock, which would stop the
// bubble's if a bubble had to start it. Checks for leaked goroutines have to begin
// after it.
func Synctest() { natsbus.StartClock() }
