package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"millrace/handlers/payment"
	"millrace/signature"
)

const (
	// maxCallbacks bounds the callbacks that wait for their time; more are not sent.
	maxCallbacks = 65_536
	// maxPosts bounds the requests in flight: about what a small provider would send at once.
	maxPosts = 32
	// postTimeout bounds one of them.
	postTimeout = 5 * time.Second
)

type callback struct {
	request payment.Request
	at      time.Time
}

// callLater plans a callback. They all wait equally long, so a queue keeps them in order.
func (p *Provider) callLater(r payment.Request, at time.Time) {
	if p.config.CallbackURL == "" {
		return
	}
	select {
	case p.callbacks <- callback{r, at}:
	default: // too many: the caller will ask
	}
}

// Run sends the callbacks until ctx ends. Those that are still waiting then are
// dropped. Call it once.
func (p *Provider) Run(ctx context.Context) error {
	transport := &http.Transport{MaxIdleConnsPerHost: maxPosts, IdleConnTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: postTimeout}
	free := make(chan struct{}, maxPosts)
	var posts sync.WaitGroup
	defer posts.Wait()
	for {
		var c callback
		select {
		case <-ctx.Done():
			return nil
		case c = <-p.callbacks:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(c.at)):
		}
		select {
		case <-ctx.Done():
			return nil
		case free <- struct{}{}:
		}
		posts.Go(func() {
			defer func() { <-free }()
			if err := p.callBack(ctx, client, c.request); err != nil && ctx.Err() == nil {
				slog.WarnContext(ctx, "the simulated provider's callback failed", "order_id", c.request.OrderID, "error", err)
			}
		})
	}
}

// callBack tells what became of a charge. One that was voided meanwhile is not told of.
func (p *Provider) callBack(ctx context.Context, client *http.Client, r payment.Request) error {
	result, err := p.find(ctx, r)
	if err != nil {
		return err
	}
	if result.Outcome != payment.Captured && result.Outcome != payment.Declined {
		return nil
	}
	// The event's id is the same however often it is sent, as with real providers.
	body, err := json.Marshal(map[string]string{
		"orderId": string(r.OrderID), "eventId": reference("ev", r.ChargeKey()+"/"+string(result.Outcome)),
		"status": string(result.Outcome), "providerRef": result.ProviderRef,
	})
	if err != nil {
		return fmt.Errorf("encode the callback: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.CallbackURL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(signature.Header, signature.Sign(p.config.Secret, body, time.Now()))
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	defer response.Body.Close()
	// Read to the end, so that the connection is used again.
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("read the answer to the callback: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the callback to %s was answered with %s", p.config.CallbackURL, response.Status)
	}
	return nil
}
