package main

// webhookCommand has what is done with webhooks.
type webhookCommand struct {
	Listen webhookListen `cmd:"" help:"Receive webhooks, check their signatures and print their events."`
}

// Help shows an example.
func (webhookCommand) Help() string {
	return "In two terminals. Example:\n\n  porchlight webhook listen\n  porchlight dev --webhook http://127.0.0.1:9000/"
}
