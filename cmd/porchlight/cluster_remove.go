package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/porchlight-dev/porchlight"
)

// clusterRemove takes a node out of a cluster.
type clusterRemove struct {
	nodesFlags
	Name string `arg:"" name:"NAME" help:"Name of the node."`
	JSON bool   `name:"json" help:"One JSON object."`
}

// Help shows an example.
func (clusterRemove) Help() string {
	return "The node must have stopped, and three others be left, which run. It returns when they have made the copies of the data anew that the node had. " +
		"Refused where that could lose anything. To put another machine in a node's place, start it under the same name on an empty data directory instead.\n\n" +
		"Example:\n\n  porchlight cluster remove n4 --config porchlight.yaml --peers 10.0.0.1:7402,10.0.0.2:7402,10.0.0.3:7402"
}

// Run removes it.
func (k *clusterRemove) Run(ctx context.Context, c console) error {
	if k.Config == "" {
		return errors.New("of which cluster? Give --config FILE of its nodes")
	}
	from, err := k.storage()
	if err != nil {
		return err
	}
	last := 0
	done, err := porchlight.RemoveNode(ctx, from, k.Name, func(lacking, all int) {
		if lacking != last {
			fmt.Fprintf(c.err, "copies are being made: %d of %d streams are not complete\n", lacking, all)
		}
		last = lacking
	})
	if err != nil {
		return err
	}
	if k.JSON {
		return json.NewEncoder(c.out).Encode(done)
	}
	_, err = fmt.Fprintf(c.out, "%s is removed, all %d streams have their copies, and %s are left. Take its address out of their lists of nodes before they start again, and do not start it on its old data directory.\n",
		k.Name, done.Streams, strings.Join(done.Nodes, ", "))
	return err
}
