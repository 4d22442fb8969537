# shellcheck shell=bash
# Keys, certificates and kubeconfigs of the node. Elliptic-curve keys: a dozen of them take a second.

# new_ca DIRECTORY NAME: ca.crt and ca.key.
new_ca() {
  mkdir -p "$1"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$2" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
}

# new_certificate DIRECTORY NAME SUBJECT [SUBJECT-ALT-NAMES]: signed by the CA in that directory.
new_certificate() {
  local dir=$1 name=$2 subject=$3 san=${4:-}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" \
    -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
  openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -days 365 -out "$dir/$name.crt" \
    -set_serial "0x$(openssl rand -hex 16)" -extfile <(
      echo 'extendedKeyUsage=serverAuth,clientAuth'
      [[ -z $san ]] || echo "subjectAltName=$san"
    ) 2>/dev/null
  rm "$dir/$name.csr"
}

# kubeconfig NAME SERVER: for the certificate of that name.
kubeconfig() {
  local pki=$STATE_DIR/pki
  cat <<YAML
apiVersion: v1
kind: Config
clusters: [{name: oidcproxy, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 <"$pki/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 <"$pki/$1.crt"), client-key-data: $(base64 -w0 <"$pki/$1.key")}}]
contexts: [{name: oidcproxy, context: {cluster: oidcproxy, user: $1}}]
current-context: oidcproxy
YAML
}

write_pki() {
  local pki=$STATE_DIR/pki user
  [[ -f $ADMIN_KUBECONFIG ]] && return
  new_ca "$pki" oidcproxy-cluster
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$pki/sa.key" 2>/dev/null
  openssl pkey -in "$pki/sa.key" -pubout -out "$pki/sa.pub"
  new_certificate "$pki" apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$API_SERVICE_IP,IP:$NODE_IP"
  new_certificate "$pki" kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:127.0.0.1,IP:$NODE_IP"
  new_certificate "$pki" admin /O=system:masters/CN=admin
  new_certificate "$pki" kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  new_certificate "$pki" front-proxy /CN=front-proxy
  new_certificate "$pki" controller-manager /CN=system:kube-controller-manager
  new_certificate "$pki" scheduler /CN=system:kube-scheduler
  for user in controller-manager scheduler kubelet; do
    kubeconfig $user https://127.0.0.1:6443 >"$pki/$user.kubeconfig"
  done
  kubeconfig admin https://127.0.0.1:6443 >"$pki/admin.kubeconfig"
  kubeconfig admin "https://$NODE_IP:6443" >"$ADMIN_KUBECONFIG.new"
  # Last: its presence says that all of the above is there.
  mv "$ADMIN_KUBECONFIG.new" "$ADMIN_KUBECONFIG"
}
