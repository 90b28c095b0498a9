package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// requestTimeout is longer than a router's REQUEST_TIMEOUT by default, so that as a
	// rule the router answers first.
	requestTimeout = 20 * time.Second
	// firstPause and longestPause bound the waits before a request is sent again, where the
	// router does not say when: quick enough to meet a restart, slow enough not to prevent it.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
	// longestRetryAfter is how far a router is believed, so that one wrong header does not stall a run.
	longestRetryAfter = 30 * time.Second
	// maxAnswer bounds an answer: the largest page there is has some 200 KB.
	maxAnswer = 16 << 20
)

// checkURL wants a base URL.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--url %q: it must be like http://127.0.0.1:8080", u.Redacted())
	}
	return nil
}

// client speaks to the router. It may be used by many goroutines.
type client struct {
	base   string
	header http.Header
	http   *http.Client

	mu      sync.Mutex
	retries map[string]int // requests that had to be sent again, by why
}

func newClient(o Options) *client {
	c := &client{base: o.URL, header: http.Header{}, retries: map[string]int{}}
	if o.APIKey != "" {
		c.header.Set("X-API-Key", o.APIKey)
	}
	if o.Token != "" {
		c.header.Set("Authorization", "Bearer "+o.Token)
	}
	transport := o.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		// One connection for each request that may be under way, kept: otherwise the run measures handshakes.
		own.MaxIdleConns, own.MaxIdleConnsPerHost = maxPlacing+maxReading, maxPlacing+maxReading
		transport = own
	}
	c.http = &http.Client{Transport: transport, Timeout: requestTimeout}
	return c
}

func (c *client) close() { c.http.CloseIdleConnections() }

// problem is an answer that is not what was asked for.
type problem struct {
	Status int    `json:"-"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`

	retryAfter time.Duration
}

func (p *problem) Error() string {
	text := strconv.Itoa(p.Status) + " " + http.StatusText(p.Status)
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, e := range p.Errors {
		text += "; " + e.Location + " " + e.Message
	}
	return text
}

// statusOf is the HTTP status an error stands for; 0 if there was no answer.
func statusOf(err error) int {
	var p *problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// passing says that the same request may succeed later.
func passing(err error) bool {
	status := statusOf(err)
	return status == 0 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		status >= http.StatusInternalServerError
}

// get reads into answer, once.
func (c *client) get(ctx context.Context, path string, answer any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, answer)
}

// persist sends a request until it is answered for good or ctx ends: what is refused
// for now, and what got no answer, goes again under the same idempotency key.
func (c *client) persist(ctx context.Context, method, path, key string, body, answer any) error {
	pause := firstPause
	var last error
	for {
		err := c.do(ctx, method, path, key, body, answer)
		switch {
		case err == nil || ctx.Err() == nil && !passing(err):
			return err
		case ctx.Err() != nil && last != nil:
			return last // says more than that time is up
		case ctx.Err() != nil:
			return err
		}
		last = err
		c.count(err)
		// Half of it by chance, so that those who were refused together do not come back together.
		wait := pause/2 + rand.N(pause/2)
		pause = min(2*pause, longestPause)
		var p *problem
		if errors.As(err, &p) && p.retryAfter > 0 {
			wait = p.retryAfter + rand.N(firstPause)
		}
		if !sleep(ctx, wait) {
			return err
		}
	}
}

func (c *client) count(err error) {
	why := "no answer"
	if status := statusOf(err); status != 0 {
		why = strconv.Itoa(status) + " " + http.StatusText(status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retries[why]++
}

// sentAgain returns how many requests had to be, by why.
func (c *client) sentAgain() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]int, len(c.retries))
	for why, n := range c.retries {
		all[why] = n
	}
	return all
}

func (c *client) do(ctx context.Context, method, path, key string, body, answer any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err // *url.Error says method, URL and why
	}
	defer response.Body.Close()
	// To its end, or the connection could not be used again.
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		p := &problem{retryAfter: retryAfter(response.Header)}
		// Whatever else answers here, a proxy for instance, may speak no problem+json.
		_ = json.Unmarshal(text, p)
		p.Status = response.StatusCode
		return fmt.Errorf("%s %s: %w", method, path, p)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: the answer %s is not as expected: %w", method, path, response.Status, err)
	}
	return nil
}

// retryAfter reads the header in both its forms; 0 where there is none.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(text); err == nil {
		wait = time.Duration(min(seconds, int(longestRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = time.Until(at)
	}
	return max(0, min(wait, longestRetryAfter))
}

// unreachable says in one sentence why nobody answered at all.
func unreachable(base string, err error) error {
	switch status := statusOf(err); {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("the router at %s wants to know who is calling: set API_KEY or API_TOKEN to one with the scope shop: %w", base, err)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s has no catalogue: give --url the port that has the routes of all services (HTTP_PORT): %w", base, err)
	case status != 0:
		return fmt.Errorf("the router at %s cannot serve now: %w", base, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no router answers at %s: start one with router serve (make run), or give --url", base)
	}
	return fmt.Errorf("no router answers at %s: start one with router serve (make run), or give --url: %w", base, err)
}
