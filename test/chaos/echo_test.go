package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// echoRole makes this test program a host of TestNetwork: what it says to whom.
const echoRole = "PORCHLIGHT_CHAOS_ECHO"

// echo answers every line, and asks another host for an answer when the line is
// its address.
func echo(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				answer := "yes"
				if to := lines.Text(); to != "?" {
					answer = "no"
					if reaches(to) == nil {
						answer = "yes"
					}
				}
				fmt.Fprintln(c, answer)
			}
		}()
	}
}

// echoWait is how long an answer may take: an address that nobody answers for is
// found out by silence alone.
const echoWait = 400 * time.Millisecond

func reaches(addr string) error { return asks(addr, "?", echoWait) }

func asks(addr, line string, limit time.Duration) error {
	c, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	fmt.Fprintln(c, line)
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != "yes" {
		err = errors.New("it does not reach the other")
	}
	return err
}
