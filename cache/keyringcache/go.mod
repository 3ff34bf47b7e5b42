module github.com/awsoidc/awsoidc/cache/keyringcache

go 1.26.0

replace github.com/awsoidc/awsoidc => ../..

require (
	github.com/awsoidc/awsoidc v0.0.0-00010101000000-000000000000
	github.com/godbus/dbus/v5 v5.2.2
	github.com/zalando/go-keyring v0.2.8
)

require (
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	golang.org/x/sys v0.50.0 // indirect
)
