//go:build !linux

package keyringcache

// advice is what to do where the keyring can't be used.
const advice = "unlock it, and allow this program to use it, or use another Store"
