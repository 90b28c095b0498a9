package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"millrace/deadletter"
	"millrace/event"
)

// storyJSON is a fact of an order's history, or the letter's own place in it.
type storyJSON struct {
	At   time.Time       `json:"at"`
	What string          `json:"what"`
	Data json.RawMessage `json:"data,omitempty"`
	// Letter marks the message that the letter is about: when it was published.
	Letter bool `json:"letter,omitempty"`
}

// story is what the order service knows of a letter's order; missing says why there is nothing.
func (d *desks) story(ctx context.Context, l *deadletter.Letter) (story []storyJSON, missing string) {
	switch {
	case l.OrderID == "":
		return nil, "whose order it is cannot be known"
	case d.orders == nil:
		return nil, "the order service's database is not among those that are configured here"
	}
	history, err := d.orders.History(ctx, event.OrderID(l.OrderID))
	switch {
	case errors.Is(err, event.ErrUnknownOrder):
		return nil, "nobody has placed this order"
	case err != nil:
		return nil, fmt.Sprintf("it cannot be read: %v", err)
	}
	// The message came to be with the facts of its time: it stands behind them.
	mine := storyJSON{At: l.PublishedAt.UTC(), What: l.Topic, Letter: true}
	placed := false
	for _, e := range history {
		if !placed && e.OccurredAt.After(mine.At) {
			story, placed = append(story, mine), true
		}
		entry := storyJSON{At: e.OccurredAt, What: e.Type}
		if string(e.Data) != "{}" {
			entry.Data = e.Data
		}
		story = append(story, entry)
	}
	if !placed {
		story = append(story, mine)
	}
	return story, ""
}

// summary is a fact in a few words: of a status, from what to what.
func (e storyJSON) summary() string {
	var change struct{ Status, Previous, Reason string }
	if json.Unmarshal(e.Data, &change) != nil || change.Status == "" || change.Previous == "" {
		return string(e.Data)
	}
	text := change.Previous + " → " + change.Status
	if change.Reason != "" {
		text += " (" + change.Reason + ")"
	}
	return text
}
