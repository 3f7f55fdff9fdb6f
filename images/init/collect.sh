#!/bin/sh
# Copies a shell, iptables and the libraries that they need to the folder $1, and writes the SBOM to /sbom.json.
set -eu
image=$1
libraries=$(dirname "$(ldd /usr/sbin/xtables-nft-multi | sed -n 's/.*=> \(.*libxtables[^ ]*\).*/\1/p')")
plugins=/usr${libraries#/usr}/xtables

mkdir -p "$image/bin"
cp /bin/dash "$image/bin/sh"
cp /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi iptables-restore "$image/bin/"
chmod 0755 "$image/bin/iptables-restore"
ln -s iptables-restore "$image/bin/ip6tables-restore"
for kind in nft legacy; do
  for family in iptables ip6tables; do
    for name in $family-$kind $family-$kind-restore $family-$kind-save; do
      ln -s xtables-$kind-multi "$image/bin/$name"
    done
  done
done

mkdir -p "$image$plugins"
cp "$plugins"/libxt_*.so "$plugins"/libipt_*.so "$plugins"/libip6t_*.so "$image$plugins/"
ldd "$image"/bin/sh "$image"/bin/xtables-* "$image$plugins"/*.so | grep -o '/[^ ]*\.so[^ ]*' | grep -v : | sort -u >/needed
while read -r file; do
  mkdir -p "$image$(dirname "$file")"
  cp -L "$file" "$image$file"
done </needed

# dpkg knows some files by the path that they had before /lib and /bin became links.
owner() { dpkg-query -S "$1" 2>/dev/null || dpkg-query -S "/usr$1" 2>/dev/null || dpkg-query -S "${1#/usr}"; }
{
  echo '{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,'
  echo ' "metadata": {"component": {"type": "container", "name": "osm-init"}},'
  echo ' "components": ['
  { cat /needed; echo /bin/dash; echo /usr/sbin/xtables-nft-multi; } |
    while read -r file; do owner "$file"; done | sed 's/[:,].*//' | sort -u |
    xargs dpkg-query --showformat \
      ',{"type": "library", "name": "${Package}", "version": "${Version}", "purl": "pkg:deb/debian/${Package}@${Version}?arch=${Architecture}"}\n' \
      --show | sed '1s/^,//'
  echo ']}'
} >/sbom.json
