//go:build unix

package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificateLife is longer than any test runs.
const certificateLife = 24 * time.Hour

// Authority issues certificates that nobody trusts who was not told to: no
// system knows it. Its zero value is of no use.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority, different from every other one.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{key: newKey(tb)}
	a.certificate = parse(tb, sign(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Millrace test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a, a.key))
	return a
}

// Pool is what those use who trust this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Issue makes a certificate with its key: of a server at 127.0.0.1, or of a
// client of that name.
func (a *Authority) Issue(tb testing.TB, name string) tls.Certificate {
	tb.Helper()
	key := newKey(tb)
	der := sign(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parse(tb, der)}
}

// File is a PEM file with the authority's certificate.
func (a *Authority) File(tb testing.TB) string {
	tb.Helper()
	return writePEM(tb, filepath.Join(tb.TempDir(), "ca.pem"), "CERTIFICATE", a.certificate.Raw)
}

// IssueFiles is Issue into two PEM files.
func (a *Authority) IssueFiles(tb testing.TB, name string) (certFile, keyFile string) {
	tb.Helper()
	return writePair(tb, tb.TempDir(), a.Issue(tb, name))
}

func writePair(tb testing.TB, dir string, c tls.Certificate) (certFile, keyFile string) {
	tb.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatalf("encode a test key: %v", err)
	}
	return writePEM(tb, filepath.Join(dir, "cert.pem"), "CERTIFICATE", c.Certificate[0]), writePEM(tb, filepath.Join(dir, "key.pem"), "PRIVATE KEY", key)
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("make a test key: %v", err)
	}
	return key
}

// sign makes the certificate of key; the authority's own is signed by itself.
func sign(tb testing.TB, template *x509.Certificate, by *Authority, key *ecdsa.PrivateKey) []byte {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatalf("choose a serial number: %v", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-certificateLife), time.Now().Add(certificateLife)
	parent := by.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by.key)
	if err != nil {
		tb.Fatalf("make a test certificate: %v", err)
	}
	return der
}

func parse(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("read a test certificate: %v", err)
	}
	return certificate
}

// writePEM writes a file only its owner may read: Postgres and lib/pq refuse other keys.
func writePEM(tb testing.TB, path, kind string, der []byte) string {
	tb.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatalf("write a test certificate: %v", err)
	}
	return path
}
