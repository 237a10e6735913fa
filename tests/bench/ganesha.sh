# Sourced: start_ganesha NAME ROOT PORT STATE_DIR SHIM [ADDRESS] serves ROOT as /vol0 over NFSv3 and
# leaves the process id in $GANESHA_PID.  Unprivileged ports, no rpcbind; the caller kills it.
#
# MOUNT is answered on PORT + 1.  ROOT must lie on a file system with handles (ext4, tmpfs, xfs).

GANESHA_PROGRAM=${GANESHA_PROGRAM:-$(command -v ganesha.nfsd || echo /usr/bin/ganesha.nfsd)}

write_ganesha_config() {
  local root=$1 port=$2 state=$3 address=$4
  cat >"$state/ganesha.conf" <<CONF
NFS_CORE_PARAM {
  NFS_Port = $port; MNT_Port = $((port + 1)); Protocols = 3; Bind_addr = $address;
  Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; mount_path_pseudo = true;
  Plugins_Dir = /usr/lib/$(uname -m)-linux-gnu/ganesha;
}
NFSV4 { Graceless = true; RecoveryRoot = $state/recovery; }
EXPORT_DEFAULTS { Access_Type = RW; Squash = No_Root_Squash; SecType = sys; Protocols = 3; Transports = TCP; }
EXPORT { Export_Id = 1; Path = $root; Pseudo = /vol0; FSAL { Name = VFS; } }
LOG { Default_Log_Level = EVENT; }
CONF
}

start_ganesha() {
  local name=$1 root=$2 port=$3 state=$4 shim=$5 address=${6:-127.0.0.1}
  mkdir -p "$root" "$state/recovery"
  write_ganesha_config "$root" "$port" "$state" "$address"
  LD_PRELOAD=$shim "$GANESHA_PROGRAM" -F -f "$state/ganesha.conf" -L "$state/ganesha.log" \
    -p "$state/ganesha.pid" >"$state/ganesha.out" 2>&1 </dev/null &
  GANESHA_PID=$!
  echo "$name: nfs-ganesha, pid $GANESHA_PID, $root" >&2
}
