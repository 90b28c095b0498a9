package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/httpapi/auth"
)

// minCallbackSecret is what cannot be guessed any more: 128 bits.
const minCallbackSecret = 16

// What the deadlines are when nobody sets them: short where a person watches the
// simulated provider, and what customers take to pay otherwise.
const (
	simulatedPaymentDeadline = 30 * time.Second
	simulatedOrderDeadline   = time.Minute
	realPaymentDeadline      = 15 * time.Minute
	realOrderDeadline        = 20 * time.Minute
)

// check fills in what depends on other settings, and looks for what does not go together.
func (c *Config) check() (mistakes []error) {
	if len(c.Services) == 0 {
		c.Services = AllServices()
	}
	for i, s := range c.Services {
		c.Services[i] = strings.TrimSpace(s)
	}
	for _, part := range []func() []error{c.checkServices, c.checkPorts, c.checkAuth, c.checkKafka, c.checkDatabase, c.checkDeadlines} {
		mistakes = append(mistakes, part()...)
	}
	if c.Handlers.BackoffMax < c.Handlers.Backoff {
		mistakes = append(mistakes, wrong("RETRY_BACKOFF_MAX", c.Handlers.BackoffMax.String(), "at least RETRY_BACKOFF, which is "+c.Handlers.Backoff.String()))
	}
	return mistakes
}

func (c *Config) checkServices() (mistakes []error) {
	value := strings.Join(c.Services, ",")
	for i, s := range c.Services {
		if !slices.Contains(AllServices(), s) {
			mistakes = append(mistakes, wrong("SERVICES", value, fmt.Sprintf("some of %s; there is no %q", strings.Join(AllServices(), ","), s)))
		} else if slices.Contains(c.Services[:i], s) {
			mistakes = append(mistakes, wrong("SERVICES", value, "without "+s+" given twice"))
		}
	}
	if c.Transport == "memory" && len(c.Services) < len(AllServices()) {
		mistakes = append(mistakes, fmt.Errorf("TRANSPORT=%q cannot carry events to services in other processes: leave SERVICES empty, or set TRANSPORT=kafka", c.Transport))
	}
	return mistakes
}

func (c *Config) checkPorts() (mistakes []error) {
	names := map[int]string{}
	take := func(name string, port int) {
		if other, taken := names[port]; taken && port != 0 {
			mistakes = append(mistakes, fmt.Errorf("%s and %s are both %d: give each its own port, or 0 for any free one", other, name, port))
		}
		names[port] = name
	}
	take("HTTP_PORT", c.HTTP.Port)
	for _, s := range AllServices() {
		if slices.Contains(c.Services, s) {
			take(strings.ToUpper(s)+"_PORT", c.Port(s))
		}
	}
	if !isHostPort(c.HTTP.AdminAddr) {
		mistakes = append(mistakes, wrong("ADMIN_ADDR", c.HTTP.AdminAddr, "host:port, such as 127.0.0.1:9000"))
	}
	if strings.ContainsAny(c.HTTP.Host, ":/ ") {
		if _, err := netip.ParseAddr(c.HTTP.Host); err != nil {
			mistakes = append(mistakes, wrong("HTTP_HOST", c.HTTP.Host, "an address or a name without port, such as 127.0.0.1"))
		}
	}
	return mistakes
}

func isHostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	_, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func (c *Config) checkAuth() (mistakes []error) {
	if c.Auth.Mode == "none" && !isLoopback(c.HTTP.Host) {
		mistakes = append(mistakes, fmt.Errorf("AUTH=%q would let everyone in who can reach HTTP_HOST=%q: set AUTH=apikey or AUTH=jwt, or HTTP_HOST=127.0.0.1", c.Auth.Mode, c.HTTP.Host))
	}
	if c.Auth.Mode != "apikey" && c.Auth.APIKeys.IsSet() {
		mistakes = append(mistakes, fmt.Errorf("API_KEYS is set, but AUTH=%q does not use it: set AUTH=apikey", c.Auth.Mode))
	}
	if c.Auth.Mode != "jwt" && (c.Auth.JWTSecret.IsSet() || c.Auth.JWTPublicKey.IsSet() || c.Auth.JWTKeySet.IsSet()) {
		mistakes = append(mistakes, fmt.Errorf("a JWT_ key is set, but AUTH=%q does not use it: set AUTH=jwt", c.Auth.Mode))
	}
	if _, err := c.Auth.Authenticator(); err != nil {
		mistakes = append(mistakes, err)
	}
	return mistakes
}

// Authenticator knows the callers of the REST API; it is nil, without an error, for AUTH=none.
func (a Auth) Authenticator() (auth.Authenticator, error) {
	switch a.Mode {
	case "apikey":
		keys, err := auth.ParseKeys(a.APIKeys.Reveal())
		if err != nil {
			return nil, fmt.Errorf("AUTH=apikey: API_KEYS is wrong: %w", err)
		}
		return keys, nil
	case "jwt":
		tokens, err := auth.NewTokens(auth.TokenConfig{Issuer: a.JWTIssuer, Audience: a.JWTAudience,
			Secret: a.JWTSecret.Reveal(), PublicKey: a.JWTPublicKey.Reveal(), JWKS: a.JWTKeySet.Reveal()})
		if err != nil {
			return nil, fmt.Errorf("AUTH=jwt: JWT_ISSUER, JWT_AUDIENCE and one of JWT_SECRET, JWT_PUBLIC_KEY, JWT_JWKS are wrong: %w", err)
		}
		return tokens, nil
	}
	return nil, nil
}

func (c *Config) checkKafka() (mistakes []error) {
	k := &c.Kafka
	loopback := true
	for i, broker := range k.Brokers {
		k.Brokers[i] = strings.TrimSpace(broker)
		host, _, err := net.SplitHostPort(k.Brokers[i])
		if err != nil || host == "" || !isHostPort(k.Brokers[i]) {
			mistakes = append(mistakes, wrong("KAFKA_BROKERS", strings.Join(k.Brokers, ","), "host:port of each broker, separated by commas, such as kafka-1:9092,kafka-2:9092"))
			break
		}
		loopback = loopback && isLoopback(host)
	}
	if _, err := k.TLSConfig(); err != nil {
		mistakes = append(mistakes, err)
	}
	login := k.SASLUser != "" || k.SASLPassword.IsSet()
	switch {
	case k.SASLMechanism == "" && login:
		mistakes = append(mistakes, errors.New("KAFKA_SASL_USER or KAFKA_SASL_PASSWORD is set without KAFKA_SASL_MECHANISM: set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"))
	case k.SASLMechanism != "" && (k.SASLUser == "" || !k.SASLPassword.IsSet()):
		mistakes = append(mistakes, fmt.Errorf("KAFKA_SASL_MECHANISM=%q needs both KAFKA_SASL_USER and KAFKA_SASL_PASSWORD", k.SASLMechanism))
	case k.SASLMechanism == "PLAIN" && !k.TLS && !loopback:
		mistakes = append(mistakes, fmt.Errorf("KAFKA_SASL_MECHANISM=%q sends the password as it is: set KAFKA_TLS=true, or use SCRAM-SHA-512", k.SASLMechanism))
	}
	return mistakes
}

// TLSConfig is how to encrypt connections to the brokers; nil, without an error, for KAFKA_TLS=false.
func (k Kafka) TLSConfig() (*tls.Config, error) {
	if !k.TLS {
		if k.CAFile != "" || k.CertFile != "" || k.KeyFile != "" {
			return nil, errors.New("KAFKA_TLS_CA, KAFKA_TLS_CERT or KAFKA_TLS_KEY is set, but KAFKA_TLS is not: set KAFKA_TLS=true")
		}
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if k.CAFile != "" {
		authorities, err := os.ReadFile(k.CAFile)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CA=%q is wrong: it must be a PEM file that can be read: %w", k.CAFile, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, wrong("KAFKA_TLS_CA", k.CAFile, "a PEM file with a certificate in it (-----BEGIN CERTIFICATE-----)")
		}
	}
	if k.CertFile != "" || k.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(k.CertFile, k.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CERT=%q and KAFKA_TLS_KEY=%q are wrong: they must be a certificate and its key, both PEM files: %w", k.CertFile, k.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

func (c *Config) checkDatabase() (mistakes []error) {
	urls := []Secret{c.Database.URL}
	names := []string{"DATABASE_URL"}
	for _, s := range AllServices() {
		if own := c.DatabaseURL(s); own != c.Database.URL {
			urls, names = append(urls, own), append(names, strings.ToUpper(s)+"_DATABASE_URL")
		}
	}
	for i, secret := range urls {
		if !secret.IsSet() {
			continue
		}
		u, err := url.Parse(secret.Reveal())
		// The error of url.Parse repeats the URL, and with it the password.
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || strings.Trim(u.Path, "/") == "" || u.Host == "" && u.Query().Get("host") == "" {
			mistakes = append(mistakes, fmt.Errorf("%s is wrong: it must be postgres://user:password@host:5432/name?sslmode=verify-full, with the password percent-encoded", names[i]))
		}
	}
	return mistakes
}

func (c *Config) checkDeadlines() (mistakes []error) {
	payment, order := realPaymentDeadline, realOrderDeadline
	if c.Payment.Provider == SimulatedProvider {
		payment, order = simulatedPaymentDeadline, simulatedOrderDeadline
	} else if !c.Payment.CallbackSecret.IsSet() {
		mistakes = append(mistakes, fmt.Errorf("PAYMENT_PROVIDER=%q needs PAYMENT_CALLBACK_SECRET, or nobody could tell its callbacks from forged ones", c.Payment.Provider))
	}
	if c.Payment.Deadline == 0 {
		c.Payment.Deadline = payment
	}
	if c.Order.Deadline == 0 {
		c.Order.Deadline = order
	}
	if c.Payment.Deadline >= c.Order.Deadline {
		mistakes = append(mistakes, fmt.Errorf("PAYMENT_DEADLINE=%q must be shorter than ORDER_DEADLINE=%q, because an order waits for its payment", c.Payment.Deadline, c.Order.Deadline))
	}
	for name, secret := range map[string]Secret{"PAYMENT_CALLBACK_SECRET": c.Payment.CallbackSecret, "CARRIER_CALLBACK_SECRET": c.Shipping.CallbackSecret} {
		if secret.IsSet() && len(secret.Reveal()) < minCallbackSecret {
			mistakes = append(mistakes, fmt.Errorf("%s is too short: it must have at least %d bytes (openssl rand -hex 32)", name, minCallbackSecret))
		}
	}
	return mistakes
}
