package app

import (
	"context"

	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/roster"
	"github.com/porchlight-dev/porchlight/internal/telemetry"
	"github.com/porchlight-dev/porchlight/internal/topic"
)

// makeTopics makes the topics; the tracker and the roster are made.
func (a *App) makeTopics() (err error) {
	a.topics, err = topic.New(topic.Config{Store: a.store, Source: a.tracker, Seer: topicSights{a.roster}, Tell: a.tellTopic(), Takes: a.tracker.Takes, Logger: a.log})
	return err
}

func (a *App) startTopics(ctx context.Context) error { return a.topics.Start(ctx) }

func (a *App) stopTopics(ctx context.Context) error { return a.topics.Stop(ctx) }

// topicSights is the roster as topics know it.
type topicSights struct{ *roster.Roster }

// Sight implements topic.Seer.
func (s topicSights) Sight(user presence.User) topic.Sight {
	if sight := s.Roster.Sight(user); sight != nil {
		return sight
	}
	return nil
}

var topicSources = []telemetry.Source{
	{Name: "topic_subscriptions", Help: "Connections that are subscribed to topics."},
	{Name: "topics", Help: "Topics with a subscriber."},
	{Name: "topic_messages_total", Help: "Topic messages of apps with subscribers on this node.", Counter: true},
	{Name: "topic_deliveries_total", Help: "Topic messages put into the queue of a subscriber.", Counter: true},
	{Name: "topic_slow_total", Help: "Subscriptions that ended because more messages waited than fit.", Counter: true},
}

func (a *App) readTopics(give give) {
	c := a.topics.Counts()
	give(0, float64(c.Subscriptions))
	give(1, float64(c.Topics))
	give(2, float64(c.Published))
	give(3, float64(c.Delivered))
	give(4, float64(c.Slow))
}
