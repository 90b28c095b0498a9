package kafka_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/testserver"
	"millrace/transport"
	"millrace/transport/kafka"
)

// password is one that no error or log line may hold.
const password = "pa55-w0rd"

var logins = []kafka.SASL{
	{Mechanism: kafka.Plain, User: "plain", Password: password},
	{Mechanism: kafka.ScramSHA256, User: "scram256", Password: password},
	{Mechanism: kafka.ScramSHA512, User: "scram512", Password: password},
}

// secureCluster lets in who trusts the authority, has a certificate of it, and knows a login.
func secureCluster(t *testing.T, authority *testserver.Authority) *kfake.Cluster {
	t.Helper()
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.EnableSASL(), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, "broker")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
	})}
	for _, l := range logins {
		options = append(options, kfake.Superuser(l.Mechanism, l.User, l.Password))
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// secure is the configuration of a client the cluster lets in.
func secure(t *testing.T, cluster *kfake.Cluster, authority *testserver.Authority, login kafka.SASL) kafka.Config {
	t.Helper()
	config := quick(cluster.ListenAddrs()...)
	config.TLS = &tls.Config{RootCAs: authority.Pool(), Certificates: []tls.Certificate{authority.Issue(t, "router")}}
	config.SASL = &login
	return config
}

// All of the transport's connections are encrypted, show our certificate, and log in:
// those that make topics, publish, subscribe, and tell the backlog.
func TestEverythingWorksOverTLSAndSASL(t *testing.T) {
	t.Parallel()
	authority := testserver.NewAuthority(t)
	cluster := secureCluster(t, authority)
	for _, login := range logins {
		t.Run(login.Mechanism, func(t *testing.T) {
			t.Parallel()
			on, err := kafka.New(secure(t, cluster, authority, login))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = on.Close() }()
			topic, group := "events."+login.User, "group."+login.User
			if err := on.EnsureTopics(t.Context(), 3, topic); err != nil {
				t.Fatal(err)
			}
			publisher, err := on.Publisher()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = publisher.Close() }()
			const n = 5
			sent(t, publisher.(transport.BatchPublisher), topic, n)
			if b, err := on.Backlog(t.Context(), group, topic); err != nil || b.Messages != n || b.Oldest.IsZero() {
				t.Errorf("before: %+v, %v", b, err)
			}
			subscriber, err := on.Subscriber(group)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = subscriber.Close() }()
			messages, err := subscriber.Subscribe(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				receive(t, messages).Ack()
			}
			eventually(t, "no backlog", func() bool {
				b, err := on.Backlog(t.Context(), group, topic)
				return err == nil && b.Messages == 0
			})
		})
	}
}

func receive(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg := <-messages:
		return msg
	case <-time.After(patience):
		t.Fatalf("no message within %s", patience)
		return nil
	}
}

// Whoever is refused learns why in one sentence, soon, and without the password.
func TestRefusals(t *testing.T) {
	t.Parallel()
	authority, foreign := testserver.NewAuthority(t), testserver.NewAuthority(t)
	cluster := secureCluster(t, authority)
	for name, test := range map[string]struct {
		change func(*kafka.Config)
		want   string
	}{
		"foreign authority":   {func(c *kafka.Config) { c.TLS.RootCAs = foreign.Pool() }, "certificate signed by unknown authority"},
		"another host":        {func(c *kafka.Config) { c.TLS.ServerName = "kafka.example" }, "wanted to match kafka.example"},
		"no certificate":      {func(c *kafka.Config) { c.TLS.Certificates = nil }, "certificate required"},
		"foreign certificate": {func(c *kafka.Config) { c.TLS.Certificates = []tls.Certificate{foreign.Issue(t, "router")} }, "unknown certificate authority"},
		"no TLS":              {func(c *kafka.Config) { c.TLS = nil }, "is TLS missing?"},
		"no login":            {func(c *kafka.Config) { c.SASL = nil }, "is SASL missing?"},
		"unknown mechanism":   {func(c *kafka.Config) { c.SASL.Mechanism = "KERBEROS" }, `unknown SASL mechanism "KERBEROS"; it is one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := secure(t, cluster, authority, logins[0])
			test.change(&config)
			refused(t, config, test.want)
		})
	}
	// A broker answers a wrong password with an error. kfake hangs up instead, so that it
	// is told that answer here; by itself it must let nobody in either.
	answering := secureCluster(t, authority)
	answering.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SASLAuthenticate}, Err: kerr.SaslAuthenticationFailed, Count: -1})
	for _, login := range logins {
		t.Run("wrong password, "+login.Mechanism, func(t *testing.T) {
			t.Parallel()
			login.Password = password + "?"
			refused(t, secure(t, answering, authority, login), "SASL_AUTHENTICATION_FAILED")
			refused(t, secure(t, cluster, authority, login), "")
		})
	}
}

// refused looks what a client is told that the cluster does not let in.
func refused(t *testing.T, config kafka.Config, want string) {
	t.Helper()
	err := ask(t, config)
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), password) {
		t.Errorf("not one sentence with %q and without the password: %v", want, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it tried until it was told to stop: %v", err)
	}
}

// ask asks what serve asks first.
func ask(t *testing.T, config kafka.Config) error {
	t.Helper()
	admin, err := kafka.NewAdmin(config)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	_, err = admin.ClusterID(t.Context())
	return err
}
