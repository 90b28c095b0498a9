// Command dlqtour shows what becomes of messages that a service cannot process, and what an operator
// does about them. It has the database refuse some of the messages of shipping, on a system of its own that is gone when the tour is over:
// what already runs on this machine is neither used nor touched.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/term"

	"millrace/cmd/exit"
)

func main() {
	router := flag.String("router", "bin/router", "the router to show")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dlqtour: it takes no arguments, not %q\n", flag.Args())
		os.Exit(exit.Misused)
	}
	// A terminal that is closed, or a pager that is left, ends the tour like Ctrl-C: nothing stays behind.
	ctx, stop := exit.OnSignal(syscall.SIGHUP, syscall.SIGPIPE)
	g := &guide{out: os.Stdout}
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		g.bold = os.Getenv("NO_COLOR") == ""
		g.enter = lines(os.Stdin)
	}
	err := run(ctx, g, *router)
	interrupted := ctx.Err() != nil
	stop()
	code := exit.Code(err, interrupted)
	switch {
	case code == exit.Interrupted:
		fmt.Fprintln(os.Stderr, "\nThe tour was left; its system has stopped, and its directory is removed.")
	case err != nil:
		fmt.Fprintln(os.Stderr, "dlqtour:", err)
	}
	os.Exit(code)
}

// run starts the system, tours it, and ends it whatever happened.
func run(ctx context.Context, g *guide, router string) (err error) {
	s, err := newSystem(router)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	return (&tour{guide: g, system: s}).walk(ctx)
}

// lines has an element for each line that can be read, and is closed at the end.
func lines(in io.Reader) <-chan struct{} {
	read := make(chan struct{})
	go func() { // it ends with the process: nothing interrupts a read from a terminal
		defer close(read)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			read <- struct{}{}
		}
	}()
	return read
}
