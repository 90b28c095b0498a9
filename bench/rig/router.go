package rig

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Router is a running router process.
type Router struct {
	*Process
	// URL is the base URL of all routes, Admin that of the operations routes.
	URL, Admin string
}

// StartRouter starts router serve on the round's servers and returns when it is ready. env are more
// settings, as NAME=value.
func (o *Round) StartRouter(ctx context.Context, name string, env ...string) (*Router, error) {
	settings := append([]string{"DATABASE_URL=" + o.DSN, "KAFKA_BROKERS=" + strings.Join(o.Brokers, ","), "PARTITIONS=" + strconv.Itoa(Partitions)}, env...)
	return o.startRouter(ctx, name, settings)
}

// StartAlone starts router serve without any server: it brings its own, and keeps their data in dir.
func (o *Round) StartAlone(ctx context.Context, name, dir string, env ...string) (*Router, error) {
	return o.startRouter(ctx, name, append([]string{"DATA_DIR=" + dir, "EMBEDDED_KAFKA_PORT=0"}, env...))
}

func (o *Round) startRouter(ctx context.Context, name string, settings []string) (*Router, error) {
	public, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(public)
	cmd := exec.Command(o.rig.Router(), "serve")
	cmd.Dir = o.dir
	cmd.Env = append(settings, "LOG_LEVEL=warn", "HTTP_PORT="+port, "ADMIN_ADDR="+admin,
		"ORDER_PORT=0", "INVENTORY_PORT=0", "PAYMENT_PORT=0", "NOTIFICATION_PORT=0", "ANALYTICS_PORT=0", "SHIPPING_PORT=0")
	r := &Router{URL: "http://" + public, Admin: "http://" + admin}
	r.Process, err = o.Start(ctx, name, cmd, func(ctx context.Context) error {
		_, err := Get(ctx, r.Admin+"/readyz")
		return err
	})
	return r, err
}

const (
	// getTimeout bounds one look; a profile takes as long as it was asked for.
	getTimeout = time.Minute
	// firstPort and lastPort are below those that the system gives to outgoing connections, one of
	// which could otherwise take a port between the look and its use.
	firstPort, lastPort = 20_000, 32_000
	portTries           = 100
)

// Get reads a URL; any answer but 200 is an error.
func Get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, answer.Status, body)
	}
	return body, err
}

// FreeAddress is an address on loopback that nobody listens on at this moment.
func FreeAddress() (string, error) {
	for range portTries {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no free port among %d between %d and %d on 127.0.0.1", portTries, firstPort, lastPort)
}
