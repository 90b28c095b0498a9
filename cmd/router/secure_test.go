package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/twmb/franz-go/pkg/kfake"

	"millrace/config"
	"millrace/testserver"
)

// asRouter in the environment makes the test program the router: so tests run it, as it is, without building another one.
const asRouter = "MILLRACE_TEST_AS_ROUTER"

func TestMain(m *testing.M) {
	if os.Getenv(asRouter) != "" {
		main()
		return
	}
	testserver.Main(m)
}

const (
	// patience is many times what a start takes on a machine busy with other tests.
	patience = 90 * time.Second

	kafkaUser     = "router"
	kafkaPassword = "kafka-pa55word"
	shopKey       = "key-of-the-shop"
	operatorKey   = "key-of-the-operator"
	tokenSecret   = "a secret of more than thirty-two bytes"
)

// A router whose broker wants encryption, a certificate and a login, and whose API wants a
// credential: it becomes ready, and an order goes all the way.
func TestServeWithEverythingLocked(t *testing.T) {
	for name, test := range map[string]struct {
		mechanism string
		settings  map[string]string
		// credential makes the request one of a caller with that scope.
		credential func(t *testing.T, r *http.Request, scope string)
	}{
		"SCRAM and API keys": {"SCRAM-SHA-512", map[string]string{
			"AUTH": "apikey", "API_KEYS": fmt.Sprintf("shop:%x:shop,on-call:%x:operator", sha256.Sum256([]byte(shopKey)), sha256.Sum256([]byte(operatorKey))),
		}, func(_ *testing.T, r *http.Request, scope string) {
			r.Header.Set("X-API-Key", map[string]string{"shop": shopKey, "operator": operatorKey}[scope])
		}},
		"PLAIN, JWT and stock Watermill": {"PLAIN", map[string]string{
			"TRANSPORT": "watermill", "AUTH": "jwt", "JWT_ISSUER": "https://login.example", "JWT_AUDIENCE": "millrace", "JWT_SECRET": tokenSecret,
		}, func(t *testing.T, r *http.Request, scope string) {
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
				"iss": "https://login.example", "aud": "millrace", "sub": "tester", "scope": scope, "exp": time.Now().Add(time.Hour).Unix(),
			}).SignedString([]byte(tokenSecret))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := lockedKafka(t, test.mechanism)
			settings["DATABASE_URL"] = testserver.PostgresDSN(t)
			settings["CARRIER_STEP"] = "10ms"
			maps.Copy(settings, test.settings)
			router := startServe(t, settings)

			eventually(t, "it is ready", func() bool {
				status, _ := router.ask(t, "GET", router.admin+"/readyz?verbose", "", nil)
				return status == http.StatusOK
			})
			as := func(scope string) func(*http.Request) {
				return func(r *http.Request) { test.credential(t, r, scope) }
			}
			forged := func(r *http.Request) {
				r.Header.Set("X-API-Key", "made-up")
				r.Header.Set("Authorization", "Bearer made-up")
			}
			for _, refused := range []struct {
				what       string
				path       string
				credential func(*http.Request)
				want       int
			}{
				{"nobody places", "/orders", nil, http.StatusUnauthorized},
				{"a stranger places", "/orders", forged, http.StatusUnauthorized},
				{"the operator places", "/orders", as("operator"), http.StatusForbidden},
				{"the shop does the operator's work", "/payments/0190d7f4-0000-7000-8000-000000000000/refund", as("shop"), http.StatusForbidden},
			} {
				if status, body := router.ask(t, "POST", router.http+refused.path, orderBody, refused.credential); status != refused.want {
					t.Errorf("%s: %d, not %d: %s", refused.what, status, refused.want, body)
				}
			}
			status, body := router.ask(t, "POST", router.http+"/orders", orderBody, as("shop"))
			var placed struct{ OrderID string }
			if err := json.Unmarshal(body, &placed); err != nil || status != http.StatusAccepted {
				t.Fatalf("the shop places: %d %s", status, body)
			}
			if status, body := router.ask(t, "GET", router.http+"/orders/"+placed.OrderID, "", nil); status != http.StatusUnauthorized {
				t.Errorf("nobody reads the order: %d %s", status, body)
			}
			eventually(t, "the order is DELIVERED", func() bool {
				_, body = router.ask(t, "GET", router.http+"/orders/"+placed.OrderID+"/status", "", as("operator"))
				return bytes.Contains(body, []byte(`"DELIVERED"`))
			})
			for _, secret := range []string{kafkaPassword, shopKey, operatorKey, tokenSecret} {
				if strings.Contains(router.log.String(), secret) {
					t.Errorf("%q is in the log", secret)
				}
			}
		})
	}
}

const orderBody = `{"customerId":"c-1","currency":"EUR","paymentMethod":"pm_accepted","items":[{"sku":"MUG-RED","quantity":1,"unitPrice":1250}],
"shippingAddress":{"name":"Ada Byron","street":"1 Mill Lane","city":"Bath","postalCode":"BA1 1AA","country":"GB"}}`

// A broker that must not be spoken to, or does not let us in, ends the start with one sentence.
func TestServeIsRefusedByKafka(t *testing.T) {
	t.Parallel()
	foreign := testserver.NewAuthority(t)
	for name, test := range map[string]struct {
		change func(settings map[string]string)
		want   string
	}{
		"foreign authority": {func(s map[string]string) { s["KAFKA_TLS_CA"] = foreign.File(t) }, "certificate signed by unknown authority"},
		"no certificate":    {func(s map[string]string) { delete(s, "KAFKA_TLS_CERT"); delete(s, "KAFKA_TLS_KEY") }, "certificate required"},
		"no login": {func(s map[string]string) {
			delete(s, "KAFKA_SASL_MECHANISM")
			delete(s, "KAFKA_SASL_USER")
			delete(s, "KAFKA_SASL_PASSWORD_FILE")
		}, "is SASL missing?"},
		"another user": {func(s map[string]string) { s["KAFKA_SASL_USER"] = "nobody" }, "no answer from the brokers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := lockedKafka(t, "SCRAM-SHA-256")
			settings["DATABASE_URL"] = "postgres://127.0.0.1:1/unreached"
			test.change(settings)
			var log journal
			err := serve(t.Context(), freePorts(t, settings), logTo(&log), false)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "(KAFKA_BROKERS)") || strings.Contains(err.Error(), "\n") {
				t.Errorf("not one sentence with %q: %v", test.want, err)
			}
			if strings.Contains(fmt.Sprint(err, log.String()), kafkaPassword) {
				t.Errorf("the password is told: %v; %s", err, log.String())
			}
		})
	}
}

// lockedKafka starts a broker that wants a certificate and a login, and returns what lets a router in.
func lockedKafka(t *testing.T, mechanism string) map[string]string {
	t.Helper()
	authority := testserver.NewAuthority(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, kafkaUser, kafkaPassword), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, "broker")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	certFile, keyFile := authority.IssueFiles(t, "router")
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte(kafkaPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"KAFKA_BROKERS": strings.Join(cluster.ListenAddrs(), ","),
		"KAFKA_TLS":     "true", "KAFKA_TLS_CA": authority.File(t), "KAFKA_TLS_CERT": certFile, "KAFKA_TLS_KEY": keyFile,
		"KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USER": kafkaUser, "KAFKA_SASL_PASSWORD_FILE": passwordFile,
	}
}

// freePorts reads the settings, with every port a free one.
func freePorts(t *testing.T, settings map[string]string) config.Config {
	t.Helper()
	environ := map[string]string{"HTTP_PORT": "0", "ADMIN_ADDR": "127.0.0.1:0", "DATA_DIR": t.TempDir()}
	for _, name := range config.AllServices() {
		environ[strings.ToUpper(name)+"_PORT"] = "0"
	}
	maps.Copy(environ, settings)
	cfg, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// served is a router in this process.
type served struct {
	http, admin string
	log         *journal
}

// startServe runs a router until the test is over, and returns when it is ready.
func startServe(t *testing.T, settings map[string]string) *served {
	t.Helper()
	cfg := freePorts(t, settings)
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{log: &journal{}}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, cfg, logTo(s.log), false) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the router ended with %v", err)
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	eventually(t, "the router is ready", func() bool {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatalf("the router ended: %v", err)
		default:
		}
		s.http, s.admin = s.log.ready()
		return s.http != ""
	})
	return s
}

// ask makes a request; credential may be nil.
func (s *served) ask(t *testing.T, method, url, body string, credential func(*http.Request)) (status int, answer []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if credential != nil {
		credential(r)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

// journal is a log in memory, of JSON lines.
type journal struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func logTo(j *journal) *slog.Logger { return slog.New(slog.NewJSONHandler(j, nil)) }

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

// ready is where the router said it listens, once it is ready.
func (j *journal) ready() (http, admin string) {
	for line := range strings.Lines(j.String()) {
		var entry struct{ Msg, HTTP, Admin string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "ready" {
			return entry.HTTP, entry.Admin
		}
	}
	return "", ""
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not after %s: %s", patience, what)
		}
		<-tick.C
	}
}
