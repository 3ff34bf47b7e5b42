package keyringcache

// advice is what to do where the keyring can't be used.
const advice = "see that a Secret Service such as GNOME Keyring or KWallet runs in this session (DBUS_SESSION_BUS_ADDRESS) and unlock it, or use another Store"
