package demo

import (
	"fmt"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

const (
	// redraw is how often a bar moves: smooth to the eye.
	redraw = 100 * time.Millisecond
	// newLine is how often a line is written where there is no terminal: a log stays short.
	newLine = 5 * time.Second
	// barWidth leaves room for the numbers on a line of 80 characters.
	barWidth = 24
)

// showProgress shows it until stop is called.
func (r *run) showProgress() (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	show, every := r.writeLine, newLine
	if r.Live {
		show, every = r.drawBar(), redraw
	}
	var running sync.WaitGroup
	end := make(chan struct{})
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				show()
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		running.Wait()
		show()
		if r.Live {
			fmt.Fprint(r.Progress, "\n\n") // the report follows
		}
	}
}

func (r *run) drawBar() (show func()) {
	bar := progressbar.NewOptions(r.Orders, progressbar.OptionSetWriter(r.Progress), progressbar.OptionSetWidth(barWidth),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
		progressbar.OptionSetPredictTime(false), progressbar.OptionShowCount(), progressbar.OptionUseANSICodes(true))
	return func() {
		placed, ended, givenUp := r.progress()
		what := fmt.Sprintf("placed %d, ended", placed)
		if givenUp > 0 {
			what = fmt.Sprintf("placed %d, given up %d, ended", placed, givenUp)
		}
		bar.Describe(what)
		// It fails where the terminal is gone: then nobody looks.
		_ = bar.Set(ended)
	}
}

func (r *run) writeLine() {
	placed, ended, givenUp := r.progress()
	line := fmt.Sprintf("placed %d of %d orders, %d have ended, %s", placed, r.Orders, ended, time.Since(r.began).Round(time.Second))
	if givenUp > 0 {
		line += fmt.Sprintf(", %d given up", givenUp)
	}
	for why, n := range r.client.sentAgain() {
		line += fmt.Sprintf(", %d sent again (%s)", n, why)
	}
	fmt.Fprintln(r.Progress, line)
}

// progress counts the orders so far. Of those that are given up the report has the reasons.
func (r *run) progress() (placed, ended, givenUp int) {
	for _, o := range r.orders {
		o.mu.Lock()
		if o.id != "" {
			placed++
		}
		switch {
		case o.finished:
			ended++
		case o.done:
			givenUp++
		}
		o.mu.Unlock()
	}
	return placed, ended, givenUp
}
