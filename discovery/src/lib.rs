//! Identity, certificates, beacons, the peer list and the control swarm.
