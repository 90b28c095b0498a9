// Package topic binds each event to the one Kafka topic it travels on.
package topic

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	json "github.com/go-json-experiment/json/v1" // encoding/json as it is from Go 1.27 on: the same rules, a third of the time

	"millrace/event"
)

// Info is what is known of a topic without its event's Go type.
type Info struct {
	// Name is the Kafka topic's name.
	Name string
	// Event is the event's name, which is its ce_type: "OrderCreated".
	Event string
	// SchemaVersion is the ce_dataschemaversion written with each event. A consumer
	// refuses a newer one: that is a dead letter, not a guess.
	SchemaVersion int
	// Intent says in a sentence what the topic is for.
	Intent string

	decode func([]byte) (event.Event, error)
	typ    reflect.Type
}

// Topic is an Info that knows its event's type, so that a handler for another
// event does not compile.
type Topic[E event.Event] struct{ Info }

// Describe is the topic without its event's type.
func (i Info) Describe() Info { return i }

// schemaVersion is 1 for every event until a field changes its meaning.
const schemaVersion = 1

var all []Info

func declare[E event.Event](name, intent string) Topic[E] {
	typ := reflect.TypeFor[E]()
	info := Info{
		Name: name, Event: typ.Name(), SchemaVersion: schemaVersion, Intent: intent, typ: typ,
		decode: func(data []byte) (event.Event, error) { return decode[E](data) },
	}
	for _, other := range all {
		if other.Name == name || other.Event == info.Event {
			panic(fmt.Sprintf("topic: %s (%s) is declared twice", name, info.Event))
		}
	}
	all = append(all, info)
	return Topic[E]{info}
}

// All lists every topic in the order of the table.
func All() []Info { return slices.Clone(all) }

// For returns the topic an event travels on.
func For(e event.Event) (Info, bool) {
	typ := reflect.TypeOf(e)
	for _, info := range all {
		if info.typ == typ {
			return info, true
		}
	}
	return Info{}, false
}

// Named returns the topic with that Kafka name.
func Named(name string) (Info, bool) {
	i := slices.IndexFunc(all, func(info Info) bool { return info.Name == name })
	if i < 0 {
		return Info{}, false
	}
	return all[i], true
}

// Decode reads a body. Unknown fields are ignored, since fields are only ever
// added; anything that is not one JSON object naming a well-formed order is an error.
func (i Info) Decode(data []byte) (event.Event, error) { return i.decode(data) }

var errEmpty = errors.New("the body is empty")

func decode[E event.Event](data []byte) (E, error) {
	var e E
	trimmed := data
	for len(trimmed) > 0 && isSpace(trimmed[0]) {
		trimmed = trimmed[1:]
	}
	switch {
	case len(trimmed) == 0:
		return e, errEmpty
	case trimmed[0] != '{':
		return e, fmt.Errorf("%T: the body is not a JSON object", e)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("%T: %w", e, err)
	}
	if _, err := event.ParseOrderID(string(e.Key())); err != nil {
		return e, fmt.Errorf("%T: orderId: %w", e, err)
	}
	return e, nil
}

// isSpace is what JSON calls white space.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
