#!/usr/bin/env node
// Process each message that devices send to an emulator, also those sent while this program was not running.
//
// usage: node messages.js [CURSOR_FILE]
//
// The file keeps the cursor of the last processed message. It is written after the message was processed, so
// a program that is killed gets its last message again and misses none. It needs Node 14 and no packages.
'use strict'
const fs = require('fs')
const https = require('https')
const os = require('os')
const path = require('path')

// What a back end does with a message.
function consume(message) {
  console.log(JSON.stringify([message.device, message.body]))
}

// Replace the file as a whole, so that a kill leaves the old cursor or the new one.
function save(file, cursor) {
  fs.writeFileSync(file + '.new', cursor)
  fs.renameSync(file + '.new', file)
}

function fail(reason) {
  console.error(reason)
  process.exit(1)
}

function ended(error) {
  fail('the emulator has ended, or cannot be reached' + (error ? ': ' + error.message : ''))
}

// Call handle with each event of the stream.
function follow(control, cursor, handle) {
  const headers = { Authorization: 'Bearer ' + control.token }
  if (cursor) headers['Last-Event-ID'] = cursor
  const request = https.get(control.url + '/lizard/v1/messages', { ca: control.ca, headers }, (answer) => {
    let text = ''
    answer.setEncoding('utf8')
    answer.on('data', (chunk) => {
      text += chunk
      if (answer.statusCode !== 200) return
      const blocks = text.split('\n\n') // an empty line ends an event
      text = blocks.pop()
      for (const block of blocks) {
        handle(Object.fromEntries(block.split('\n').map((line) => {
          const colon = line.indexOf(': ')
          return [line.slice(0, colon), line.slice(colon + 2)]
        })))
      }
    })
    answer.on('error', ended)
    answer.on('end', () => answer.statusCode === 200 ? ended() : fail(JSON.parse(text).error.message))
  })
  request.on('error', ended)
}

const file = process.argv[2] || 'messages.cursor'
const cursor = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
const standard = path.join(os.homedir(), '.cache/failover/emulator.json') // on macOS in ~/Library/Caches
const control = JSON.parse(fs.readFileSync(process.env.FAILOVER_CONTROL_FILE || standard, 'utf8'))

process.on('SIGINT', () => process.exit(0))
follow(control, cursor, (event) => {
  if (event.event === 'missed') {
    console.error('messages that are no longer kept:', JSON.parse(event.data).missed)
  } else if (event.data) {
    consume(JSON.parse(event.data))
  }
  save(file, event.id)
})
