package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/goleak"

	"millrace/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := httpapi.Listen(t.Context(), "HTTP_PORT", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTakenPortNamesTheSetting(t *testing.T) {
	l := listen(t)
	defer l.Close()
	_, err := httpapi.Listen(t.Context(), "ORDER_PORT", l.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "ORDER_PORT: "+l.Addr().String()+" is taken") {
		t.Errorf("error %v", err)
	}
	_, err = httpapi.Listen(t.Context(), "HTTP_HOST", "192.0.2.1:0")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "no address of this machine") {
		t.Errorf("error %v", err)
	}
}

// serve starts Serve and returns what stops it, and its result.
func serve(drain time.Duration, servers ...httpapi.Server) (stop func(), result <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- httpapi.Serve(ctx, drain, servers...) }()
	return cancel, done
}

func fetch(t *testing.T, url string) (status int, body string, err error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func TestRunningRequestsFinishWhileDraining(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	inside, release := make(chan struct{}), make(chan struct{})
	get(api, "/slow", func(context.Context) (string, error) { close(inside); <-release; return "done", nil })
	whole, own := listen(t), listen(t) // one tree on two ports
	stop, result := serve(10*time.Second, httpapi.Server{Listener: whole, Handler: api}, httpapi.Server{Listener: own, Handler: api})

	answered := make(chan string, 1)
	go func() {
		_, body, _ := fetch(t, "http://"+own.Addr().String()+"/slow")
		answered <- body
	}()
	<-inside
	stop()
	// New connections are refused before the running request is done.
	refused := false
	for deadline := time.Now().Add(5 * time.Second); !refused && time.Now().Before(deadline); {
		_, _, err := fetch(t, "http://"+whole.Addr().String()+"/openapi.json")
		refused = err != nil
	}
	if !refused {
		t.Error("the server still takes connections while it drains")
	}
	close(release)
	if got := <-answered; got != "\"done\"\n" {
		t.Errorf("the running request was answered %q", got)
	}
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestDrainingIsBounded(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	inside := make(chan struct{})
	// Ends by its context, which is cut off with the connection.
	get(api, "/stuck", func(ctx context.Context) (string, error) { close(inside); <-ctx.Done(); return "", ctx.Err() })
	l := listen(t)
	stop, result := serve(10*time.Millisecond, httpapi.Server{Listener: l, Handler: api})
	answered := make(chan error, 1)
	go func() {
		_, _, err := fetch(t, "http://"+l.Addr().String()+"/stuck")
		answered <- err
	}()
	<-inside
	stop()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Serve: %v", err)
	}
	<-answered
}

func TestStreamsEndWhenDrainingBegins(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{RequestTimeout: time.Nanosecond}) // which does not apply to streams
	inside := make(chan struct{})
	huma.Register(api.Huma, huma.Operation{OperationID: "stream", Method: http.MethodGet, Path: "/stream", Security: httpapi.Public(), Metadata: httpapi.Streaming()},
		func(context.Context, *struct{}) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(ctx huma.Context) {
				if ctx.Context().Err() == nil {
					close(inside)
				}
				<-ctx.Context().Done()
				_, _ = io.WriteString(ctx.BodyWriter(), "bye")
			}}, nil
		})
	l := listen(t)
	stop, result := serve(10*time.Second, httpapi.Server{Listener: l, Handler: api})
	answered := make(chan string, 1)
	go func() {
		_, body, _ := fetch(t, "http://"+l.Addr().String()+"/stream")
		answered <- body
	}()
	<-inside
	stop()
	if got := <-answered; got != "bye" {
		t.Errorf("stream ended with %q", got)
	}
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestOneFailingListenerEndsServe(t *testing.T) {
	api, _ := newAPI(t, httpapi.Config{})
	broken, healthy := listen(t), listen(t)
	broken.Close()
	_, result := serve(time.Second, httpapi.Server{Listener: broken, Handler: api}, httpapi.Server{Listener: healthy, Handler: api})
	if err := <-result; err == nil || !strings.Contains(err.Error(), broken.Addr().String()) {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", healthy.Addr().String()); err == nil {
		t.Error("the other listener is still open")
	}
}
