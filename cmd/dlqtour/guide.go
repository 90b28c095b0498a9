package main

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// guide speaks, and waits for whoever listens.
type guide struct {
	out io.Writer
	// bold sets off headings and commands.
	bold bool
	// enter has an element each time Enter was pressed; nil: nobody is there to press it.
	enter   <-chan struct{}
	chapter int
}

// chapters is how many there are.
const chapters = 6

// begin waits until the chapter before was read, and names the next.
func (g *guide) begin(ctx context.Context, title string) error {
	if g.chapter > 0 {
		if err := g.wait(ctx); err != nil {
			return err
		}
	}
	g.chapter++
	heading := fmt.Sprintf("%d of %d. %s", g.chapter, chapters, title)
	fmt.Fprintf(g.out, "\n%s\n%s\n", g.strong(heading), strings.Repeat("=", len(heading)))
	return nil
}

// wait returns when Enter was pressed: at once, where nobody is there.
func (g *guide) wait(ctx context.Context) error {
	if g.enter == nil {
		return ctx.Err()
	}
	fmt.Fprint(g.out, "\n[Enter goes on, Ctrl-C ends the tour] ")
	select {
	case <-g.enter:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// say prints a paragraph.
func (g *guide) say(format string, args ...any) {
	fmt.Fprintf(g.out, "\n"+format+"\n", args...)
}

// does prints what is being done, as one would type it; its output follows.
func (g *guide) does(prompt, text string) {
	fmt.Fprintf(g.out, "\n%s\n", g.strong(prompt+" "+text))
}

func (g *guide) strong(text string) string {
	if !g.bold {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// typed is a command as one would type it.
func typed(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n'\"\\$&|;<>()*?#~`!") {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
