// Package router is how messages reach the services: the flow on one screen, the
// middleware in one file, and the little that binds them to Watermill.
package router

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"millrace/deadletter"
	"millrace/event"
	"millrace/topic"
)

// Graph is who hears what and who may say what, service by service.
type Graph []ServiceFlow

// ServiceFlow is one service's part of the graph.
type ServiceFlow struct {
	Name  string
	Hears []Edge
	Says  []topic.Info
}

// Edge is one arrow from a topic to a service.
type Edge struct {
	Topic topic.Info
	// Specified marks the arrows of the specification; the others are the saga's own.
	Specified bool

	react func(context.Context, event.Event) error
}

// Part is one line of a Service.
type Part func(*ServiceFlow)

// Service is one module: one consumer group, one set of topics it may publish on.
func Service(name string, parts ...Part) ServiceFlow {
	s := ServiceFlow{Name: name}
	for _, p := range parts {
		p(&s)
	}
	return s
}

// On is an arrow of the specification: react is called for each event of the topic. The
// compiler refuses a react for another event.
func On[E event.Event](t topic.Topic[E], react func(context.Context, E) error) Part {
	return hear(t, react, true)
}

// Also is an arrow the specification does not have.
func Also[E event.Event](t topic.Topic[E], react func(context.Context, E) error) Part {
	return hear(t, react, false)
}

func hear[E event.Event](t topic.Topic[E], react func(context.Context, E) error, specified bool) Part {
	return func(s *ServiceFlow) {
		s.Hears = append(s.Hears, Edge{Topic: t.Info, Specified: specified, react: func(ctx context.Context, e event.Event) error {
			typed, ok := e.(E)
			if !ok {
				return fmt.Errorf("topic %s carries %T, want %s", t.Name, e, t.Event)
			}
			return react(ctx, typed)
		}})
	}
}

// Every hears all topics there are.
func Every(react func(context.Context, event.Event) error) Part {
	return func(s *ServiceFlow) {
		for _, info := range topic.All() {
			s.Hears = append(s.Hears, Edge{Topic: info, react: react})
		}
	}
}

// Says declares what a service may publish; the outbox refuses everything else.
func Says(topics ...interface{ Describe() topic.Info }) Part {
	return func(s *ServiceFlow) {
		for _, t := range topics {
			s.Says = append(s.Says, t.Describe())
		}
	}
}

// Validate finds what no flow may have: a service or an arrow declared twice, a topic without
// exactly one publisher.
func (g Graph) Validate() error {
	var errs []error
	names := map[string]bool{}
	publishers := map[string]string{}
	for _, s := range g {
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("service %s is declared twice", s.Name))
		}
		names[s.Name] = true
		heard := map[string]bool{}
		for _, e := range s.Hears {
			if heard[e.Topic.Name] {
				errs = append(errs, fmt.Errorf("service %s hears %s twice: its two subscriptions would share the messages", s.Name, e.Topic.Name))
			}
			heard[e.Topic.Name] = true
		}
		for _, t := range s.Says {
			if other, ok := publishers[t.Name]; ok {
				errs = append(errs, fmt.Errorf("%s and %s both say %s: versions of an order would mix", other, s.Name, t.Name))
			}
			publishers[t.Name] = s.Name
		}
	}
	for _, t := range topic.All() {
		if publishers[t.Name] == "" {
			errs = append(errs, fmt.Errorf("nobody says %s", t.Name))
		}
	}
	return errors.Join(errs...)
}

// Only returns the part of the graph that concerns the named services.
func (g Graph) Only(services ...string) Graph {
	return slices.DeleteFunc(slices.Clone(g), func(s ServiceFlow) bool { return !slices.Contains(services, s.Name) })
}

// MaySay tells whether a service declared that it publishes on a topic.
func (g Graph) MaySay(service string) func(topicName string) bool {
	allowed := map[string]bool{}
	for _, s := range g {
		if s.Name == service {
			for _, t := range s.Says {
				allowed[t.Name] = true
			}
		}
	}
	return func(topicName string) bool { return allowed[topicName] }
}

// Group is a service's consumer group.
func (s ServiceFlow) Group() string { return s.Name + "-service" }

// Topics lists the topics a service hears.
func (s ServiceFlow) Topics() []string {
	names := make([]string, len(s.Hears))
	for i, e := range s.Hears {
		names[i] = e.Topic.Name
	}
	return names
}

// Topics lists every Kafka topic the graph needs: what is said, what is heard, and the dead letters.
func (g Graph) Topics() []string {
	var names []string
	for _, s := range g {
		for _, t := range s.Says {
			names = append(names, t.Name)
		}
		names = append(names, s.Topics()...)
		names = append(names, deadletter.Topic(s.Group()))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
