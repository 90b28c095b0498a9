package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartsStopInTheOppositeOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lineup{patience: time.Minute}
		stopped := make(chan string, 3)
		for _, name := range []string{"relay", "store"} {
			l.add(name, func(ctx context.Context) error {
				<-ctx.Done()
				stopped <- name
				return ctx.Err()
			})
		}
		l.add("http", func(context.Context) error { stopped <- "http"; return errors.New("the port is gone") })
		if err := l.run(t.Context()); err == nil || err.Error() != "http: the port is gone" {
			t.Error(err)
		}
		if order := []string{<-stopped, <-stopped, <-stopped}; strings.Join(order, " ") != "http store relay" {
			t.Error(order)
		}
	})
}

// A query to a database that says nothing any more heeds no context.
func TestAPartThatDoesNotEndIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lineup{patience: time.Minute}
		release := make(chan struct{})
		l.add("relay", func(ctx context.Context) error { <-ctx.Done(); return nil })
		l.add("store", func(context.Context) error { <-release; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		err := l.run(ctx)
		if took := time.Since(began); took != time.Minute || err == nil || !strings.Contains(err.Error(), "stop: store did not end within 1m0s") {
			t.Errorf("after %s: %v", took, err)
		}
		close(release)
	})
}
