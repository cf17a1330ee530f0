package admit

import (
	"context"
	"errors"

	"github.com/porchlight-dev/porchlight/internal/fault"
	"github.com/porchlight-dev/porchlight/internal/presence"
	"github.com/porchlight-dev/porchlight/internal/token"
	"github.com/porchlight-dev/porchlight/internal/topic"
	"github.com/porchlight-dev/porchlight/internal/tracker"
)

// Publishes takes from an access token where the attributes of its user are
// published while the session is open; of a token that does not say it takes
// nothing. Call it before the session opens, so that its coming is published. It
// fails with JWTInvalid for what cannot be a topic or an attribute, and with
// LogUnavailable.
func (g *Gate) Publishes(ctx context.Context, a token.Access, session presence.PublicID) error {
	if a.Topics == nil || a.Topics.Attributes == nil {
		return nil
	}
	mappings := make([]topic.Mapping, len(a.Topics.Attributes))
	for i, m := range a.Topics.Attributes {
		mappings[i] = topic.Mapping(m)
	}
	if err := topic.CheckMap("attributes", mappings); err != nil {
		return ofToken(err)
	}
	return g.cfg.Topics.SetMap(ctx, presence.User{App: a.App, ID: a.User}, session, mappings)
}

// Subscribe begins a subscription to the topics that an access token names; of
// one that names none it is nil. It fails with JWTInvalid.
func (g *Gate) Subscribe(a token.Access, wake func()) (*topic.Subscription, error) {
	if a.Topics == nil || len(a.Topics.Subscribe) == 0 {
		return nil, nil
	}
	if err := topic.CheckTopics("subscribe", a.Topics.Subscribe); err != nil {
		return nil, ofToken(err)
	}
	return g.cfg.Topics.Subscribe(topic.Params{App: a.App, User: a.User, Topics: a.Topics.Subscribe, Wake: wake}), nil
}

// ofToken says of a fault that the token is wrong.
func ofToken(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && len(f.Fields) > 0 {
		return fault.New(fault.JWTInvalid, "the claim %s.%s of the access token %s", token.TopicsClaim, f.Fields[0].Path, f.Fields[0].Rule)
	}
	return err
}

// Attributes reads what is kept of a user as asker may see it: of one whom he may
// not see there is nothing.
func (g *Gate) Attributes(ctx context.Context, asker presence.User, of presence.UserID) (topic.Record, error) {
	target := presence.User{App: asker.App, ID: of}
	if asker != target {
		sight, err := g.cfg.Roster.SightOf(ctx, asker)
		if err != nil {
			return topic.Record{}, err
		}
		if sight != nil {
			if visible, _, _ := sight.Of(of); !visible {
				return topic.Record{User: target}, nil
			}
		}
	}
	return g.cfg.Topics.Get(ctx, target)
}

// SetAttributes sets attributes of a device's own user, on the link of its session;
// see [topic.Topics.SetWhile].
func (g *Gate) SetAttributes(ctx context.Context, ref tracker.Ref, link tracker.Link, list []topic.Attribute) (changed int, err error) {
	_, changed, err = g.cfg.Topics.SetWhile(ctx, ref.User, list, func(ctx context.Context) error { return g.cfg.Tracker.Speaks(ctx, ref, link) })
	return changed, err
}
