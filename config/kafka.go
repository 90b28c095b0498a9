package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

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
