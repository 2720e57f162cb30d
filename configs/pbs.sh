#!/bin/bash
# A mirror as a PBS job (PBS Professional, OpenPBS). It ends by itself before its walltime and submits itself again
# until all is here.
#
#     cp pbs.sh ~/xnat-sync.pbs    # change what is yours
#     cd && qsub xnat-sync.pbs
#
# Log in once before, on a login node: xnat-sync login --token. The token lies in your home, which the nodes share.
#
#PBS -N xnat-sync
#PBS -S /bin/bash
# A queue whose nodes reach the internet; clusters have one for data transfer. Ask your site for its name.
#PBS -q transfer
#PBS -l select=1:ncpus=2:mem=2gb
# Change --max-duration below together with this: at the walltime PBS kills the job, within seconds.
#PBS -l walltime=08:00:00
#PBS -j oe
#PBS -m a

projects=(PTV000 PTV001)
dest=/scratch/mirror
export XNAT_HOST=https://xnat.example.org
PATH=$HOME/xnat-sync/bin:$PATH
# PBS runs a copy of this file: what to submit again is the original, which must stay where it is.
script=$PBS_O_WORKDIR/xnat-sync.pbs
rounds=30

# --wait-lock: after a node has died, its lock is believed for a while.
xnat-sync project "${projects[@]}" --dest "$dest" --max-duration 475m --wait-lock 15m &
run=$!

# SIGTERM (qdel, preemption) comes to every process of the job: here it need only be survived, so that xnat-sync has the
# time to park what is in hand. It ends 'wait' too early.
signalled=yes
trap 'signalled=yes' TERM
while [ "$signalled" ]; do
    signalled=
    wait "$run"
    code=$?
done

# 10: the window closed and there is more to do. Every other end is for people (0 is success). 'qrerun' is for operators
# only, hence a new job.
if ((code == 10)); then
    if ((${ROUND:-1} >= rounds)); then
        echo "xnat-sync: not complete after $rounds rounds: look at the logs" >&2
    elif qsub -v "ROUND=$((${ROUND:-1} + 1))" "$script"; then
        exit 0
    fi
fi
exit "$code"
