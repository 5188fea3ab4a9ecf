@echo off
rem Moves a device of an IoT Central application back to its own hub.
rem The program is failover.exe, from the PATH (with its ending, or this file would call itself), or what FAILOVER names. docs\az.md says what else it needs.
setlocal
if "%~1"=="" goto usage
if "%~2"=="" goto usage
if "%~3"=="" goto usage
if "%~4"=="" goto usage
if not "%~5"=="" goto usage
if not defined FAILOVER set "FAILOVER=failover.exe"
"%FAILOVER%" central device manual-failback -n "%~1" -d "%~2" --central-api-uri "%~3" --central-dns-suffix "%~4"
exit /b %ERRORLEVEL%

:usage
echo usage: %~nx0 APPLICATION-ID DEVICE-ID APPLICATION-HOST-NAME DNS-SUFFIX 1>&2
exit /b 2
