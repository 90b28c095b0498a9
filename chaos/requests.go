package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"millrace/signature"
)

// errNoAnswer: the system was not there for as long as somebody asked.
var errNoAnswer = errors.New("no answer")

// request is one request to any of the replicas.
type request struct {
	method, path string
	body         []byte
	key          string // the idempotency key
	secret       string // what the body is signed with; empty: it is not
	// takes are the status codes that may come.
	takes []int
	// once: it is not sent again, whatever comes.
	once bool
}

// maxAnswer bounds an answer; an order has a few hundred bytes.
const maxAnswer = 1 << 20

// ask sends a request to one replica after the other until one answers for good.
func (l *load) ask(ctx context.Context, first int, r request) (status int, answer []byte, err error) {
	pause := retryFirst
	for try := 0; ; try++ {
		at, began := l.replicas[(first+try)%len(l.replicas)], time.Now()
		status, answer, err = l.send(ctx, at.url, r)
		switch {
		case err == nil && slices.Contains(r.takes, status):
			return status, answer, nil
		case err == nil && status < http.StatusInternalServerError && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
			return status, answer, fmt.Errorf("%s %s at %s was answered with %d: %s", r.method, r.path, at.name, status, answer)
		case err == nil && status >= http.StatusInternalServerError && l.trouble.none(began):
			l.surprised(fmt.Errorf("%s %s at %s was answered with %d although nothing was broken: %s", r.method, r.path, at.name, status, answer))
		case isTimeout(err) && ctx.Err() == nil && l.trouble.none(began):
			l.surprised(fmt.Errorf("%s %s at %s had no answer for %s although nothing was broken", r.method, r.path, at.name, requestPatience))
		}
		if r.once {
			return 0, nil, errNoAnswer
		}
		l.again.Add(1)
		if !sleep(ctx, pause) {
			return 0, nil, errNoAnswer
		}
		pause = min(2*pause, retryLongest)
	}
}

// isTimeout tells whether a request was given up because nobody answered.
func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// asksEach sends the last order that has a key once more, to each replica: all is healed, so each has to answer, at the latest when the
// weather is fine again.
func (l *load) asksEach(ctx context.Context, healed time.Time) {
	l.mu.Lock()
	o := l.last
	l.mu.Unlock()
	if o == nil {
		return
	}
	for _, at := range l.replicas {
		for {
			status, answer, err := l.send(ctx, at.url, request{method: http.MethodPost, path: "/orders", body: o.body, key: o.key})
			switch {
			case err == nil && status == http.StatusAccepted && bytes.Contains(answer, []byte(o.id)):
			case time.Since(healed) < fineAfter && sleep(ctx, retryLongest):
				continue
			case ctx.Err() != nil:
				return
			case err != nil:
				l.surprised(fmt.Errorf("POST /orders at %s, when all was healed: %w", at.name, err))
			default:
				l.surprised(fmt.Errorf("POST /orders at %s, when all was healed, was answered with %d, and not with the order %s that has its key: %s", at.name, status, o.id, answer))
			}
			break
		}
	}
}

func (l *load) send(ctx context.Context, url string, r request) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, r.method, url+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, err
	}
	if r.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.key != "" {
		request.Header.Set("Idempotency-Key", r.key)
	}
	if r.secret != "" {
		request.Header.Set(signature.Header, signature.Sign([]byte(r.secret), r.body, time.Now()))
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return response.StatusCode, answer, err
}

func (l *load) place(ctx context.Context, o *order) error {
	id, err := l.post(ctx, o)
	if err != nil {
		return err
	}
	o.id = id
	return l.accept(o)
}

func (l *load) post(ctx context.Context, o *order) (id string, err error) {
	_, answer, err := l.ask(ctx, o.number, request{method: http.MethodPost, path: "/orders", body: o.body, key: o.key, takes: []int{http.StatusAccepted}, once: o.key == ""})
	if err != nil {
		return "", err
	}
	var accepted struct {
		OrderID string `json:"orderId"`
	}
	if err := json.Unmarshal(answer, &accepted); err != nil || accepted.OrderID == "" {
		return "", fmt.Errorf("POST /orders was answered with %q", answer)
	}
	return accepted.OrderID, nil
}

// repeat posts the order again, at another replica.
func repeat(ctx context.Context, l *load, o *order) error {
	again := *o
	again.number++
	id, err := l.post(ctx, &again)
	if err == nil && id != o.id {
		err = fmt.Errorf("the idempotency key %s was answered with the order %s and then with %s", o.key, o.id, id)
	}
	return err
}

func cancel(ctx context.Context, l *load, o *order) error {
	_, _, err := l.ask(ctx, o.random.IntN(len(l.replicas)), request{method: http.MethodPost, path: "/orders/" + o.id + "/cancel",
		takes: []int{http.StatusAccepted, http.StatusConflict}})
	return err
}

// callBack is the provider, which tells again what became of a charge, twice, and then the opposite.
func callBack(ctx context.Context, l *load, o *order) error {
	status, answer, err := l.ask(ctx, o.number, request{method: http.MethodGet, path: "/payments/" + o.id, takes: []int{http.StatusOK, http.StatusNotFound}})
	if err != nil || status == http.StatusNotFound {
		return err
	}
	var payment struct {
		Status      string `json:"status"`
		ProviderRef string `json:"providerRef"`
		Reason      string `json:"reason"`
	}
	if err := json.Unmarshal(answer, &payment); err != nil {
		return fmt.Errorf("GET /payments was answered with %q: %w", answer, err)
	}
	words := map[string][]string{"SUCCEEDED": {"captured", "captured", "declined"}, "REFUNDED": {"captured", "declined"}, "FAILED": {"declined", "declined"}}[payment.Status]
	for i, word := range words {
		if payment.ProviderRef == "" {
			return nil
		}
		body, err := json.Marshal(map[string]string{"orderId": o.id, "eventId": "chaos-" + word, "status": word, "providerRef": payment.ProviderRef})
		if err != nil {
			return err
		}
		_, _, err = l.ask(ctx, o.number+i, request{method: http.MethodPost, path: "/payments/callback", body: body, secret: providerSecret,
			takes: []int{http.StatusOK, http.StatusNoContent, http.StatusNotFound}})
		if err != nil {
			return err
		}
	}
	return nil
}

// report is the carrier, which tells of a parcel out of order and twice.
func report(ctx context.Context, l *load, o *order) error {
	for i, word := range []string{"DELIVERED", "SHIPPED", "SHIPPED"} {
		body, err := json.Marshal(map[string]string{"orderId": o.id, "eventId": "chaos-" + o.id + word, "status": word})
		if err != nil {
			return err
		}
		_, _, err = l.ask(ctx, o.number+i, request{method: http.MethodPost, path: "/shipments/" + o.id + "/status", body: body, secret: carrierSecret,
			takes: []int{http.StatusOK, http.StatusNotFound}})
		if err != nil {
			return err
		}
	}
	return nil
}

// resolve is an operator, who settles a refund that was refused and a parcel that was lost, where there is one.
func resolve(ctx context.Context, l *load, o *order) error {
	for path, action := range map[string]string{"/payments/" + o.id + "/refund": "settled", "/shipments/" + o.id + "/resolve": "returned"} {
		body, err := json.Marshal(map[string]string{"action": action, "note": "looked into"})
		if err != nil {
			return err
		}
		_, _, err = l.ask(ctx, o.number, request{method: http.MethodPost, path: path, body: body, key: "resolve-" + o.id,
			takes: []int{http.StatusAccepted, http.StatusOK, http.StatusNotFound, http.StatusConflict}})
		if err != nil {
			return err
		}
	}
	return nil
}

// restock adds pieces as long as orders are placed.
func (l *load) restock(ctx, placing context.Context) {
	for n := 0; sleep(placing, restockEvery); n++ {
		_, _, err := l.ask(ctx, n, request{method: http.MethodPut, path: "/inventory/" + articles[n%len(articles)], body: []byte(`{"add":1}`), key: fmt.Sprintf("restock-%d", n), takes: []int{http.StatusOK}})
		l.surprised(err)
	}
}

// stock brings an article to so many pieces.
func (l *load) stock(ctx context.Context, article string, pieces int) error {
	_, _, err := l.ask(ctx, 0, request{method: http.MethodPut, path: "/inventory/" + article, body: fmt.Appendf(nil, `{"name":"Wanted by all","add":%d}`, pieces),
		key: "stock-" + article, takes: []int{http.StatusOK}})
	return err
}
