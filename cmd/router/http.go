package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/deadletter/plural"
	"millrace/embedded"
	"millrace/httpapi"
	"millrace/httpapi/admin"
	"millrace/router"
	"millrace/transport"
)

// listeners are the open ports.
type listeners struct {
	all     net.Listener // every route; nil unless all services run here
	service map[string]net.Listener
	admin   net.Listener
}

func listen(ctx context.Context, cfg config.Config, log *slog.Logger, c *closers) (*listeners, error) {
	l := &listeners{service: map[string]net.Listener{}}
	open := func(setting string, port int) (net.Listener, error) {
		listener, err := httpapi.Listen(ctx, setting, net.JoinHostPort(cfg.HTTP.Host, strconv.Itoa(port)))
		if err == nil {
			c.add(func() error { return ignoreClosed(listener.Close()) })
		}
		return listener, err
	}
	var err error
	if len(cfg.Services) == len(config.AllServices()) {
		if l.all, err = open("HTTP_PORT", cfg.HTTP.Port); err != nil {
			return nil, err
		}
	}
	for _, name := range cfg.Services {
		if l.service[name], err = open(strings.ToUpper(name)+"_PORT", cfg.Port(name)); err != nil {
			return nil, err
		}
	}
	if l.admin, err = admin.Listen(ctx, log, cfg.HTTP.AdminAddr); err != nil {
		return nil, err
	}
	c.add(func() error { return ignoreClosed(l.admin.Close()) })
	return l, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// url is where to place an order: every route, else the order service's own port.
func (l *listeners) url() string {
	switch {
	case l.all != nil:
		return "http://" + l.all.Addr().String()
	case l.service["order"] != nil:
		return "http://" + l.service["order"].Addr().String()
	default:
		return ""
	}
}

// shown is what the log says of the ports: the one with every route, else each service's own.
func (l *listeners) shown() string {
	if l.all != nil {
		return l.url()
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(l.service)) {
		list = append(list, name+" http://"+l.service[name].Addr().String())
	}
	return strings.Join(list, ", ")
}

func (l *listeners) adminURL() string { return "http://" + l.admin.Addr().String() }

func (l *listeners) endpoints() embedded.Endpoints {
	return embedded.Endpoints{HTTP: l.url(), Admin: l.adminURL()}
}

// addHTTP mounts each service's routes on its own port, and all of them on one.
func (a *assembly) addHTTP(l *listeners, handlers *message.Router, databases []*database, t transport.Transport, metrics *prometheus.Registry) error {
	authenticator, err := a.cfg.Auth.Authenticator()
	if err != nil {
		return exit.Misuse(err)
	}
	api := func(title string, services ...string) *httpapi.API {
		api := httpapi.New(httpapi.Config{Title: title, Version: build(), Auth: authenticator, Metrics: metrics, Logger: a.log, RequestTimeout: a.cfg.HTTP.RequestTimeout})
		for _, s := range services {
			a.routes[s](api.Huma)
		}
		return api
	}
	var servers []httpapi.Server
	if l.all != nil {
		servers = append(servers, httpapi.Server{Listener: l.all, Handler: api("Millrace", a.cfg.Services...)})
	}
	for _, name := range a.cfg.Services {
		servers = append(servers, httpapi.Server{Listener: l.service[name], Handler: api("Millrace: "+name, name)})
	}
	checks := map[string]admin.Check{
		"handlers": func(context.Context) error {
			if !handlers.IsRunning() {
				return errors.New("the message handlers are not running")
			}
			return nil
		},
		"broker": func(ctx context.Context) error {
			s := a.flow.Only(a.cfg.Services[0])[0]
			_, err := t.Backlog(ctx, s.Group(), s.Topics()...)
			return err
		},
	}
	for _, db := range databases {
		checks["database of "+strings.Join(db.services, ", ")] = db.work.PingContext
		checks["outbox of "+strings.Join(db.services, ", ")] = func(context.Context) error {
			if db.relay.Saturated() {
				return fmt.Errorf("%d unsent events: new orders are refused (OUTBOX_CAP)", db.relay.Backlog().Rows)
			}
			return nil
		}
	}
	notes := map[string]func() string{}
	for _, p := range a.parkings {
		notes["letters of "+p.Service()] = func() string { return lettersNote(p) }
	}
	operations := admin.Handler(admin.Config{Metrics: metrics, Checks: checks, Notes: notes,
		Topology: func() any { return topology(a.flow, a.cfg.Services) }})
	a.lineup.add("http", func(ctx context.Context) error {
		return httpapi.Serve(ctx, a.cfg.ShutdownTimeout, append(servers, httpapi.Server{Listener: l.admin, Handler: operations})...)
	})
	return nil
}

func topology(flow router.Graph, here []string) any {
	return struct {
		Services []string           `json:"services"`
		Topics   []router.TopicFlow `json:"topics"`
	}{here, flow.Rows()}
}

// lettersNote is what /readyz says of a service's dead letters. They make nobody unready: the REST API and
// all other orders go on.
func lettersNote(p *deadletter.Parking) string {
	if pause, is := p.Paused(); is {
		why := fmt.Sprintf("too many messages failed alike (group %s)", pause.Fingerprint)
		if pause.Fingerprint == "" { // it is no kind of failure but how much waits
			why = pause.Error
		}
		return fmt.Sprintf("PAUSED since %s, because %s; mend it, then: router dlq resume %s", pause.Since.Format(time.RFC3339), why, p.Service())
	}
	d := p.Depth()
	if d.Letters == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, the oldest for %s, %s parked behind", plural.Of(d.Letters, "waits", "wait"), d.OldestAge.Round(time.Second), plural.Of(d.Parked, "message", "messages"))
}
