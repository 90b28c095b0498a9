package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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
		if s == "" {
			mistakes = append(mistakes, wrong("SERVICES", value, "without empty names between its commas"))
			break
		} else if !slices.Contains(AllServices(), s) {
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
