//go:build unix

package fault_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/bench/rig"
	"millrace/embedded/child"
	"millrace/testserver"
	"millrace/verify"
)

func TestMain(m *testing.M) {
	code := testserver.Stopping(m).Run()
	_ = os.Remove(faultyPath) // where none was built there is none
	os.Exit(code)
}

// faultyPath is where the program with the mistakes is.
var faultyPath = filepath.Join(os.TempDir(), fmt.Sprintf("millrace-faults-%d", os.Getpid()))

const (
	// patience is how long a test waits for what must happen; a glance, for what a mistake may prevent.
	patience = 60 * time.Second
	glance   = 3 * time.Second
	// pause is the time between two looks.
	pause = 20 * time.Millisecond
	// quietLooks with nothing new, quietPause apart, and a system is taken to be quiet: longer than the carrier's
	// steps, and than a call that is tried again.
	quietLooks = 6
	quietPause = 300 * time.Millisecond
)

// faultyRouter is the program with the mistakes, built once.
var faultyRouter = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "build", "-tags", "faults", "-o", faultyPath, "millrace/cmd/router").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the router: %w\n%s", err, out)
	}
	return faultyPath, nil
})

// system is a database, a broker, and routers that make a mistake.
type system struct {
	t        *testing.T
	mistake  string
	dsn      string
	db       *sql.DB
	broker   *kfake.Cluster
	routers  []*router
	accepted []string
}

type router struct {
	url, admin string
	process    *child.Process
	env        []string
	log        string
}

func newSystem(t *testing.T, mistake string) *system {
	s := &system{t: t, mistake: mistake, dsn: testserver.PostgresDSN(t), broker: testserver.KafkaCluster(t)}
	var err error
	if s.db, err = sql.Open("postgres", s.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	s.start()
	return s
}

// freeAddress is one that nobody listens on; nobody's outgoing connection takes it before it is used.
func freeAddress(t *testing.T) string {
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// start starts one more router.
func (s *system) start() *router {
	s.t.Helper()
	r := &router{url: freeAddress(s.t), admin: freeAddress(s.t), log: filepath.Join(s.t.TempDir(), "router.log")}
	r.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "DATA_DIR=" + s.t.TempDir(), "MILLRACE_FAULT=" + s.mistake,
		"KAFKA_BROKERS=" + s.broker.ListenAddrs()[0], "DATABASE_URL=" + s.dsn, "CARRIER_STEP=60ms", "HTTP_PORT=" + r.url[strings.LastIndex(r.url, ":")+1:], "ADMIN_ADDR=" + r.admin,
	}
	for _, name := range []string{"ORDER", "PAYMENT", "INVENTORY", "SHIPPING", "NOTIFICATION", "ANALYTICS"} {
		r.env = append(r.env, name+"_PORT=0")
	}
	s.routers = append(s.routers, r)
	s.t.Cleanup(func() {
		r.process.Stop(patience, syscall.SIGTERM)
		if text, err := os.ReadFile(r.log); err == nil && s.t.Failed() {
			s.t.Logf("%s", text)
		}
	})
	s.run(r)
	return r
}

// run runs a router's process.
func (s *system) run(r *router) {
	s.t.Helper()
	path, err := faultyRouter()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, "serve")
	cmd.Env = r.env
	if r.process, err = child.Start(cmd, syscall.SIGKILL, r.log); err != nil {
		s.t.Fatal(err)
	}
	s.await("the router is ready", patience, func() bool {
		status, _ := request(s.t, http.MethodGet, "http://"+r.admin+"/readyz", "")
		return status == http.StatusOK
	})
}

// kill is kill -9.
func (r *router) kill() { r.process.Stop(0) }

func request(t *testing.T, method, url, body string) (status int, answer []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	asked, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	asked.Header.Set("Content-Type", "application/json")
	answered, err := http.DefaultClient.Do(asked)
	if err != nil {
		return 0, nil
	}
	defer answered.Body.Close()
	answer, _ = io.ReadAll(answered.Body)
	return answered.StatusCode, answer
}

// await waits until something is so, and tells whether it is; what takes all of patience is an error.
func (s *system) await(what string, within time.Duration, so func() bool) bool {
	s.t.Helper()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for deadline := time.Now().Add(within); !so(); <-tick.C {
		if time.Now().After(deadline) {
			if within == patience {
				s.t.Fatalf("not within %s: %s", within, what)
			}
			return false
		}
	}
	return true
}

// place places an order at a router, and returns its id.
func (s *system) place(at *router, method, postalCode string) string {
	s.t.Helper()
	status, answer := request(s.t, http.MethodPost, "http://"+at.url+"/orders", fmt.Sprintf(`{"customerId":"c-1","currency":"EUR","paymentMethod":%q,
"items":[{"sku":"MUG-RED","quantity":2,"unitPrice":1250}],"shippingAddress":{"name":"Ada Byron","street":"1 Mill Lane","city":"Bath","postalCode":%q,"country":"GB"},
"contact":{"email":"ada@example.com","phone":"+441225000000"}}`, method, postalCode))
	var order struct{ OrderID string }
	if err := json.Unmarshal(answer, &order); status != http.StatusAccepted || err != nil {
		s.t.Fatalf("%d %s", status, answer)
	}
	s.accepted = append(s.accepted, order.OrderID)
	return order.OrderID
}

// reaches waits until an order has a status, for a glance.
func (s *system) reaches(id, status string) bool {
	s.t.Helper()
	return s.await(status, glance, func() bool { return s.is(id, status) })
}

// is tells whether an order has a status.
func (s *system) is(id, status string) bool {
	s.t.Helper()
	_, answer := request(s.t, http.MethodGet, "http://"+s.routers[0].url+"/orders/"+id+"/status", "")
	return strings.Contains(string(answer), `"status":"`+status+`"`)
}

func (s *system) cancel(at *router, id string) {
	s.t.Helper()
	request(s.t, http.MethodPost, "http://"+at.url+"/orders/"+id+"/cancel", "")
}

func (s *system) exec(statement string) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), statement); err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
}

// verified waits until nothing new happens, and looks.
func (s *system) verified() *verify.Report {
	s.t.Helper()
	options := verify.Options{
		Databases: []verify.Database{{DB: s.db}}, Kafka: []kgo.Opt{kgo.SeedBrokers(s.broker.ListenAddrs()...)}, AtRest: true, Accepted: s.accepted,
	}
	tick := time.NewTicker(quietPause)
	defer tick.Stop()
	var last *verify.Report
	for same, deadline := 0, time.Now().Add(patience); same < quietLooks; <-tick.C {
		report, err := verify.Run(s.t.Context(), options)
		if err != nil {
			s.t.Fatal(err)
		}
		if same++; last == nil || report.Counts != last.Counts || report.Violations != last.Violations {
			same = 0
		}
		if last = report; time.Now().After(deadline) {
			s.t.Fatal("it does not become quiet")
		}
	}
	return last
}
