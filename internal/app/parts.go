package app

import (
	"github.com/porchlight-dev/porchlight/internal/cluster"
	"github.com/porchlight-dev/porchlight/internal/tracker"
	"github.com/porchlight-dev/porchlight/internal/wheel"
)

// What package scale, which stands in for a door, needs of a node.

// Tracker has the sessions; nil before Start.
func (a *App) Tracker() *tracker.Tracker { return a.tracker }

// Cluster is this node's part among several; nil when it is alone.
func (a *App) Cluster() *cluster.Cluster { return a.nodes.cluster }

// Clock measures silence; nil before Start.
func (a *App) Clock() *wheel.Wheel { return a.wheel }
