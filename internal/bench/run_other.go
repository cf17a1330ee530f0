//go:build !linux

package bench

import (
	"context"
	"errors"
)

// Run needs Linux: it measures the server through /proc and drives its
// connections with epoll.
func Run(_ context.Context, cfg Config) error {
	if _, err := cfg.withDefaults(); err != nil {
		return err
	}
	return errors.New("bench: the load runs on Linux only: it measures the server through /proc")
}

// LiveNullEpoll needs Linux, as Run does.
func LiveNullEpoll(context.Context, string, func(string) error) error {
	return errors.New("bench: the null server on epoll runs on Linux only")
}

// NodesRun needs Linux, as Run does.
func NodesRun(_ context.Context, cfg NodesConfig) error {
	if _, err := cfg.withDefaults(); err != nil {
		return err
	}
	return errors.New("bench: the load of several nodes runs on Linux only: it measures them through /proc")
}
