package config_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"millrace/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func load(t *testing.T, environ map[string]string) config.Config {
	t.Helper()
	c, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNothingNeedsToBeSet(t *testing.T) {
	t.Setenv("HTTP_PORT", "1") // what Load is given counts, nothing else
	for _, environ := range []map[string]string{nil, {}, {"HTTP_PORT": "", "KAFKA_BROKERS": "", "SERVICES": ""}} {
		c := load(t, environ)
		if c.Transport != "kafka" || c.HTTP.Host != "127.0.0.1" || c.HTTP.Port != 8080 || c.HTTP.AdminAddr != "127.0.0.1:9000" ||
			c.DataDir != ".millrace" || c.Kafka.Brokers != nil || c.Kafka.Partitions != 3 || c.Auth.Mode != "none" ||
			c.Shipping.CarrierStep != time.Second || c.Outbox.Cap != 1_000_000 || c.Log.Level != slog.LevelInfo {
			t.Errorf("%+v", c)
		}
		if diff := cmp.Diff(config.AllServices(), c.Services); diff != "" {
			t.Error(diff)
		}
		if c.DatabaseURL("order").IsSet() || c.Port("order") != 8081 || c.Port("shipping") != 8086 {
			t.Errorf("%+v", c)
		}
		if a, err := c.Auth.Authenticator(); a != nil || err != nil {
			t.Errorf("authenticator %v, %v", a, err)
		}
		if tls, err := c.Kafka.TLSConfig(); tls != nil || err != nil {
			t.Errorf("TLS %v, %v", tls, err)
		}
	}
}

func TestDeadlinesDependOnTheProvider(t *testing.T) {
	for _, test := range []struct {
		environ        map[string]string
		payment, order time.Duration
	}{
		{nil, 30 * time.Second, time.Minute},
		{map[string]string{"PAYMENT_PROVIDER": "acme", "PAYMENT_CALLBACK_SECRET": secret}, 15 * time.Minute, 20 * time.Minute},
		{map[string]string{"PAYMENT_DEADLINE": "5s"}, 5 * time.Second, time.Minute},
		{map[string]string{"PAYMENT_DEADLINE": "2m", "ORDER_DEADLINE": "3m"}, 2 * time.Minute, 3 * time.Minute},
	} {
		c := load(t, test.environ)
		if c.Payment.Deadline != test.payment || c.Order.Deadline != test.order {
			t.Errorf("%v: %s, %s", test.environ, c.Payment.Deadline, c.Order.Deadline)
		}
	}
}

func TestServicesMayHaveDatabasesOfTheirOwn(t *testing.T) {
	c := load(t, map[string]string{"DATABASE_URL": "postgres://db/all", "ORDER_DATABASE_URL": "postgresql:///orders?host=/run/pg", "SERVICES": "order, payment"})
	if c.DatabaseURL("order").Reveal() != "postgresql:///orders?host=/run/pg" || c.DatabaseURL("payment").Reveal() != "postgres://db/all" {
		t.Errorf("%s, %s", c.DatabaseURL("order").Reveal(), c.DatabaseURL("payment").Reveal())
	}
	if diff := cmp.Diff([]string{"order", "payment"}, c.Services); diff != "" {
		t.Error(diff)
	}
}

const secret = "hunter2hunter2hunter2hunter2hunter2"

func TestWrongValuesAreExplained(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ environ, want string }{
		{"TRANSPORT=rabbit", `TRANSPORT="rabbit" is wrong: it must be one of kafka, watermill, memory`},
		{"SERVICES=order,billing", `there is no "billing"`},
		{"SERVICES=order,order", "without order given twice"},
		{"SERVICES=order,", "without empty names between its commas"},
		{"TRANSPORT=memory SERVICES=order", "leave SERVICES empty"},
		{"HTTP_PORT=eighty", `HTTP_PORT="eighty" is wrong: it must be a whole number from 0 to 65535`},
		{"HTTP_PORT=65536", `HTTP_PORT="65536" is wrong`},
		{"ORDER_PORT=-1", `ORDER_PORT="-1" is wrong`},
		{"HTTP_PORT=99999999999999999999", `HTTP_PORT="99999999999999999999" is wrong`},
		{"ORDER_PORT=8080", "HTTP_PORT and ORDER_PORT are both 8080"},
		{"HTTP_HOST=127.0.0.1:80", `HTTP_HOST="127.0.0.1:80" is wrong`},
		{"HTTP_HOST=0.0.0.0", `AUTH="none" would let everyone in who can reach HTTP_HOST="0.0.0.0"`},
		{"HTTP_HOST=::", `AUTH="none" would let everyone in`},
		{"HTTP_HOST=router", `AUTH="none" would let everyone in`},
		{"ADMIN_ADDR=9000", `ADMIN_ADDR="9000" is wrong: it must be host:port`},
		{"ADMIN_ADDR=:x", `ADMIN_ADDR=":x" is wrong`},
		{"LOG_LEVEL=loud", `LOG_LEVEL="loud" is wrong: it must be debug, info, warn or error`},
		{"LOG_FORMAT=xml", `LOG_FORMAT="xml" is wrong: it must be one of text, json`},
		{"SHUTDOWN_TIMEOUT=20", `SHUTDOWN_TIMEOUT="20" is wrong: it must be a duration from 1s to 10m, written like`},
		{"CARRIER_STEP=-1s", `CARRIER_STEP="-1s" is wrong`},
		{"CARRIER_STEP=0", `CARRIER_STEP="0" is wrong`},
		{"PROVIDER_BREAKER_FAILURE_RATIO=NaN", `PROVIDER_BREAKER_FAILURE_RATIO="NaN" is wrong: it must be a number from 0.01 to 1`},
		{"KAFKA_TLS=yes", `KAFKA_TLS="yes" is wrong: it must be true or false`},
		{"KAFKA_BROKERS=kafka", `KAFKA_BROKERS="kafka" is wrong: it must be host:port of each broker`},
		{"KAFKA_BROKERS=a:1,", `KAFKA_BROKERS="a:1," is wrong`},
		{"KAFKA_TLS_CA=ca.pem", "set KAFKA_TLS=true"},
		{"KAFKA_TLS=true KAFKA_TLS_CA=/nowhere/ca.pem", `KAFKA_TLS_CA="/nowhere/ca.pem" is wrong`},
		{"KAFKA_TLS=true KAFKA_TLS_CA=" + other, "a PEM file with a certificate"},
		{"KAFKA_TLS=true KAFKA_TLS_CERT=" + other, "must be a certificate and its key"},
		{"KAFKA_SASL_MECHANISM=GSSAPI", `KAFKA_SASL_MECHANISM="GSSAPI" is wrong: it must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`},
		{"KAFKA_SASL_USER=u", "without KAFKA_SASL_MECHANISM"},
		{"KAFKA_SASL_MECHANISM=PLAIN KAFKA_SASL_USER=u", "needs both KAFKA_SASL_USER and KAFKA_SASL_PASSWORD"},
		{"KAFKA_BROKERS=kafka:9092 KAFKA_SASL_MECHANISM=PLAIN KAFKA_SASL_USER=u KAFKA_SASL_PASSWORD=" + secret, "sends the password as it is"},
		{"DATABASE_URL=mysql://u:" + secret + "@db/x", "DATABASE_URL is wrong: it must be postgres://"},
		{"DATABASE_URL=postgres://u:" + secret + "%zz@db/x", "DATABASE_URL is wrong"},
		{"DATABASE_URL=postgres://u:" + secret + "@db", "DATABASE_URL is wrong"},
		{"SHIPPING_DATABASE_URL=" + secret, "SHIPPING_DATABASE_URL is wrong"},
		{"PAYMENT_DEADLINE=60s", `PAYMENT_DEADLINE="1m0s" must be shorter than ORDER_DEADLINE="1m0s"`},
		{"PAYMENT_PROVIDER=acme", "needs PAYMENT_CALLBACK_SECRET"},
		{"CARRIER_CALLBACK_SECRET=hunter2", "CARRIER_CALLBACK_SECRET is too short"},
		{"AUTH=apikey", "API_KEYS is wrong: there is no key"},
		{"AUTH=apikey API_KEYS=shop:" + secret + ":shop", "API_KEYS is wrong"},
		{"API_KEYS=" + secret, "set AUTH=apikey"},
		{"AUTH=jwt JWT_SECRET=" + secret, "issuer and audience are both needed"},
		{"JWT_SECRET=" + secret, "set AUTH=jwt"},
		{"RETRY_BACKOFF=10s", `RETRY_BACKOFF_MAX="5s" is wrong: it must be at least RETRY_BACKOFF, which is 10s`},
		{"JWT_SECRET=x JWT_SECRET_FILE=y", "both set"},
		{"DATABASE_URL_FILE=/nowhere/url", `DATABASE_URL_FILE="/nowhere/url" is wrong: it must be a file that can be read`},
		{"DATABASE_URL_FILE=/dev/null", "this one is empty"},
	} {
		environ := map[string]string{}
		for assignment := range strings.SplitSeq(test.environ, " ") {
			name, value, _ := strings.Cut(assignment, "=")
			environ[name] = value
		}
		_, err := config.Load(environ)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.environ, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error gives the secret away: %v", test.environ, err)
		}
	}
}

func TestAllMistakesAreReportedTogetherAndOnce(t *testing.T) {
	_, err := config.Load(map[string]string{"HTTP_PORT": "x", "ORDER_DEADLINE": "-1s", "KAFKA_BROKERS": "kafka", "RETRY_BACKOFF": "x", "AUTH": "apikey"})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 5 {
		t.Errorf("%d lines:\n%v", len(lines), err)
	}
}

func TestGoodValuesAreTaken(t *testing.T) {
	for _, environ := range []map[string]string{
		{"HTTP_PORT": "0", "ORDER_PORT": "0", "PAYMENT_PORT": "0"},
		{"HTTP_PORT": "8082", "SERVICES": "order"}, // inventory's port, which is not opened here
		{"HTTP_HOST": "localhost"}, {"HTTP_HOST": "::1"}, {"HTTP_HOST": "127.9.9.9"},
		{"HTTP_HOST": "0.0.0.0", "AUTH": "jwt", "JWT_SECRET": secret, "JWT_ISSUER": "i", "JWT_AUDIENCE": "a"},
		{"KAFKA_BROKERS": "kafka:9092, [::1]:9092", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_USER": "u", "KAFKA_SASL_PASSWORD": "p"},
		{"KAFKA_BROKERS": "127.0.0.1:9092", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USER": "u", "KAFKA_SASL_PASSWORD": "p"},
		{"KAFKA_TLS": "true"},
		{"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"},
		{"ADMIN_ADDR": ":0"},
	} {
		if c, err := config.Load(environ); err != nil {
			t.Errorf("%v: %v", environ, err)
		} else if tls, err := c.Kafka.TLSConfig(); c.Kafka.TLS != (tls != nil) || err != nil {
			t.Errorf("%v: TLS %v, %v", environ, tls, err)
		}
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://u:"+secret+"@db/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"DATABASE_URL_FILE": file}
	c := load(t, environ)
	if got := c.Database.URL.Reveal(); got != "postgres://u:"+secret+"@db/x" {
		t.Errorf("URL %q", got)
	}
	if len(environ) != 1 {
		t.Errorf("Load changed its argument: %v", environ)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	c := load(t, map[string]string{"DATABASE_URL": "postgres://u:" + secret + "@db/x"})
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb, c)
		fmt.Fprintf(&out, verb, &c.Database.URL)
		fmt.Fprintf(&out, verb, c.Database.URL)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("start", "config", c, "url", c.Database.URL)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("start", "config", c, "url", c.Database.URL)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("given away: %s", &out)
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Error("one should see that it is set")
	}
}

func TestEverySettingIsDescribed(t *testing.T) {
	names := map[string]bool{}
	for _, s := range config.Describe() {
		if s.Help == "" || s.Accepts == "" || names[s.Name] {
			t.Errorf("%+v", s)
		}
		names[s.Name] = true
	}
	for _, name := range []string{"TRANSPORT", "KAFKA_BROKERS", "DATABASE_URL", "DATA_DIR", "SERVICES", "HTTP_HOST", "HTTP_PORT", "ORDER_PORT", "SHIPPING_PORT",
		"ADMIN_ADDR", "EMBEDDED_KAFKA_PORT", "PAYMENT_DEADLINE", "ORDER_DEADLINE", "AUTH", "PAYMENT_CALLBACK_SECRET", "CARRIER_CALLBACK_SECRET", "CARRIER_STEP", "LOG_LEVEL", "LOG_FORMAT"} {
		if !names[name] {
			t.Errorf("%s is promised, and missing", name)
		}
	}
}

func TestDocumentation(t *testing.T) {
	const file = "../docs/configuration.md"
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(config.Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Markdown(), string(got)); diff != "" {
		t.Errorf("write it anew: go test ./config -run TestDocumentation -update\n%s", diff)
	}
}
