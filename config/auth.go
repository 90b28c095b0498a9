package config

import (
	"fmt"

	"millrace/httpapi/auth"
)

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
