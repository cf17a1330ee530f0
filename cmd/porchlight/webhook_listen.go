package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/porchlight-dev/porchlight/internal/config"
	"github.com/porchlight-dev/porchlight/internal/receiver"
)

// webhookListen is a receiver for development.
type webhookListen struct {
	Addr     string        `default:"127.0.0.1:9000" placeholder:"ADDR" help:"Address to listen on. Default: ${default}."`
	Format   string        `default:"native" enum:"native,cloudevents,rongcloud,tencentim" help:"What comes: native, cloudevents, rongcloud or tencentim. Default: ${default}."`
	Secret   []string      `placeholder:"S" help:"Checks signatures: whsec_… for native and cloudevents, the app secret for rongcloud, the token for tencentim; several may be given. Default: what porchlight dev signs with; none for tencentim."`
	Answer   int           `placeholder:"CODE" help:"HTTP status to answer with. Default: 200; a wrong signature is answered 401 whatever it is."`
	Delay    time.Duration `placeholder:"TIME" help:"How long each answer waits, such as 3s."`
	FailRate float64       `placeholder:"PART" help:"Answer this part of the requests with 500, 0 to 1."`
	JSON     bool          `name:"json" help:"One JSON object per request and line."`
}

// Help shows an example.
func (webhookListen) Help() string {
	return "It says what is wrong with a signature, and marks repeats, gaps and wrong order. To see what the server makes of a bad receiver, let it answer late, badly, or by chance.\n\n" +
		"In two terminals. Example:\n\n  porchlight webhook listen --fail-rate 0.3\n  porchlight dev --webhook http://127.0.0.1:9000/"
}

// receiverStop is how long requests that are being answered have at the end.
const receiverStop = 2 * time.Second

// headerTime bounds the head of a request.
const headerTime = 10 * time.Second

// Run receives until Ctrl-C.
func (w webhookListen) Run(ctx context.Context, c console) error {
	secrets, whose := w.secrets()
	r, err := receiver.New(receiver.Config{
		Format: w.Format, Secrets: secrets, Answer: w.Answer, Delay: w.Delay, FailRate: w.FailRate,
		Told: func(got receiver.Request) { w.print(c, got) },
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", w.Addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if !w.JSON {
		fmt.Fprintf(c.out, "webhooks of format %s at http://%s/, signatures %s\n", w.Format, l.Addr(), whose)
	} else {
		json.NewEncoder(c.out).Encode(map[string]string{"listening": "http://" + l.Addr().String() + "/", "format": w.Format})
	}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: headerTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiverStop)
	defer cancel()
	if err := srv.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// secrets are the flag's, or what porchlight dev signs with; whose says it in words.
func (w webhookListen) secrets() (list []string, whose string) {
	if len(w.Secret) > 0 {
		return w.Secret, "checked with --secret"
	}
	switch w.Format {
	case receiver.RongCloud:
		return []string{config.DevelopmentRongCloudSecret}, "checked with the secret of porchlight dev"
	case receiver.TencentIM:
		return nil, "not checked (no --secret)"
	}
	return []string{config.DevelopmentWebhookSecret}, "checked with the secret of porchlight dev"
}

func (w webhookListen) print(c console, got receiver.Request) {
	if w.JSON {
		json.NewEncoder(c.out).Encode(got)
		return
	}
	fmt.Fprint(c.out, got)
}
