//! What the upstream of Envoy 1.40 saw for these requests.
