package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// itself is this program, to be started again as one of the servers of a bench.
func itself() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program to start it again: %w", err)
	}
	return self, nil
}

// report runs a bench and prints its rows: each at once as JSON, or all in a table
// at the end. A bar is drawn for who sits at a terminal.
func report[Row any](b benchCommand, c console, run func(bar io.Writer, row func(Row)) error, table func(io.Writer, []Row) error) error {
	var bar io.Writer
	if f, ok := c.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		bar = c.err
	}
	var rows []Row
	err := run(bar, func(row Row) {
		if b.JSON {
			json.NewEncoder(c.out).Encode(row)
		}
		rows = append(rows, row)
	})
	if err != nil || b.JSON {
		return err
	}
	return table(c.out, rows)
}
